package profiles

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// document is the shape of one TOML file; its tags are the only place where the keys are written. Pointers tell "not said" from
// "said to be empty".
type document struct {
	Description *string       `toml:"description"`
	Match       []string      `toml:"match"`
	Extends     []string      `toml:"extends"`
	FS          tableFS       `toml:"fs"`
	Net         tableNet      `toml:"net"`
	Limits      tableLimits   `toml:"limits"`
	Syscalls    tableSyscalls `toml:"syscalls"`
	Env         tableEnv      `toml:"env"`
	Secret      []tableSecret `toml:"secret"`
}

type tableFS struct {
	Read      []string `toml:"read"`
	Write     []string `toml:"write"`
	Hide      []string `toml:"hide"`
	Protect   []string `toml:"protect"`
	Unprotect []string `toml:"unprotect"`
	Home      *string  `toml:"home"`
	Copy      []string `toml:"copy"`
}

type tableNet struct {
	Mode     *string     `toml:"mode"`
	Allow    []string    `toml:"allow"`
	Deny     []string    `toml:"deny"`
	Denied   *string     `toml:"denied"`
	ProxyEnv *bool       `toml:"proxy_env"`
	Rule     []tableRule `toml:"rule"`
}

type tableRule struct {
	Host       string  `toml:"host"`
	Ports      []int64 `toml:"ports"`
	Private    bool    `toml:"private"`
	Connect    *string `toml:"connect"`
	UpstreamCA *string `toml:"upstream_ca"`
	TLS        *string `toml:"tls"`

	Methods     []string `toml:"methods"`
	Paths       []string `toml:"paths"`
	Git         *string  `toml:"git"`
	PushRefs    []string `toml:"push_refs"`
	MaxRequest  *string  `toml:"max_request"`
	MaxUpload   *string  `toml:"max_upload"`
	API         *string  `toml:"api"`
	ServerTools []string `toml:"server_tools"`
}

type tableSecret struct {
	Name    string   `toml:"name"`
	Env     *string  `toml:"env"`
	File    *string  `toml:"file"`
	Pointer *string  `toml:"pointer"`
	From    *string  `toml:"from"`
	Hosts   []string `toml:"hosts"`
	Header  *string  `toml:"header"`
	Pin     *bool    `toml:"pin"`
	TTL     *string  `toml:"ttl"`
	Cache   *string  `toml:"cache"`
}

type tableLimits struct {
	Memory *string  `toml:"memory"`
	Pids   *int64   `toml:"pids"`
	CPUs   *float64 `toml:"cpus"`
	Files  *int64   `toml:"files"`
	Wall   *string  `toml:"wall"`
}

type tableSyscalls struct {
	Groups []string `toml:"groups"`
}

type tableEnv struct {
	Pass []string          `toml:"pass"`
	Set  map[string]string `toml:"set"`
}

// kinds gives for each key of the schema the kind of its value, tables included ("" is the root).
func kinds() map[string]string {
	into := map[string]string{"": "table"}
	addKinds(reflect.TypeFor[document](), "", into)
	return into
}

func addKinds(t reflect.Type, prefix string, into map[string]string) {
	for f := range t.Fields() {
		key := prefix + f.Tag.Get("toml")
		ft := f.Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		switch {
		case ft.Kind() == reflect.Struct:
			into[key] = "table"
			addKinds(ft, key+".", into)
		case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
			into[key] = "tables"
			addKinds(ft.Elem(), key+".", into)
		case ft.Kind() == reflect.Map:
			into[key] = "table"
			into[key+".*"] = ft.Elem().Kind().String()
		case ft.Kind() == reflect.Slice:
			into[key] = ft.Elem().Kind().String() + "s"
		default:
			into[key] = ft.Kind().String()
		}
	}
}

// profile turns the document into wishes; why is what their Why starts with: "claude.toml: ".
func (d *document) profile(why string) *Profile {
	list := func(key string, values []string) []Item {
		var items []Item
		for i, v := range values {
			items = append(items, Item{Value: v, Why: fmt.Sprintf("%s%s[%d]", why, key, i)})
		}
		return items
	}
	p := &Profile{
		Description: value(d.Description), Match: d.Match, Extends: d.Extends,
		FS: FS{
			Read: list("fs.read", d.FS.Read), Write: list("fs.write", d.FS.Write), Hide: list("fs.hide", d.FS.Hide),
			Protect: list("fs.protect", d.FS.Protect), Unprotect: list("fs.unprotect", d.FS.Unprotect),
			Copy: list("fs.copy", d.FS.Copy), Home: item(d.FS.Home, why+"fs.home", text),
		},
		Net: Net{
			Mode: item(d.Net.Mode, why+"net.mode", text), Denied: item(d.Net.Denied, why+"net.denied", text),
			ProxyEnv: item(d.Net.ProxyEnv, why+"net.proxy_env", strconv.FormatBool),
			Allow:    list("net.allow", d.Net.Allow), Deny: list("net.deny", d.Net.Deny),
		},
		Limits: Limits{
			Memory: item(d.Limits.Memory, why+"limits.memory", text), Wall: item(d.Limits.Wall, why+"limits.wall", text),
			Pids: item(d.Limits.Pids, why+"limits.pids", whole), Files: item(d.Limits.Files, why+"limits.files", whole),
			CPUs: item(d.Limits.CPUs, why+"limits.cpus", func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }),
		},
		Syscalls: list("syscalls.groups", d.Syscalls.Groups),
		Env:      Env{Pass: list("env.pass", d.Env.Pass)},
	}
	for i, r := range d.Net.Rule {
		p.Net.Rules = append(p.Net.Rules, r.rule(fmt.Sprintf("%snet.rule[%d]", why, i)))
	}
	for i, s := range d.Secret {
		p.Secrets = append(p.Secrets, s.secret(fmt.Sprintf("%ssecret[%d]", why, i)))
	}
	for _, name := range slices.Sorted(maps.Keys(d.Env.Set)) {
		p.Env.Set = append(p.Env.Set, EnvSet{Name: name, Value: d.Env.Set[name], Why: why + "env.set." + name})
	}
	return p
}

func (r tableRule) rule(why string) Rule {
	rule := Rule{
		Host: r.Host, Private: r.Private, Connect: value(r.Connect), UpstreamCA: value(r.UpstreamCA),
		TLS: value(r.TLS), Methods: r.Methods, Paths: r.Paths, Git: value(r.Git), PushRefs: r.PushRefs,
		MaxRequest: value(r.MaxRequest), MaxUpload: value(r.MaxUpload), API: value(r.API), ServerTools: r.ServerTools, Why: why,
	}
	for _, port := range r.Ports {
		rule.Ports = append(rule.Ports, int(port))
	}
	return rule
}

// secret fills in what a definition may leave out: it is pinned, and its value is where its placeholder would have been.
func (s tableSecret) secret(why string) Secret {
	out := Secret{
		Name: s.Name, Env: value(s.Env), File: value(s.File), Pointer: value(s.Pointer), From: value(s.From), Hosts: s.Hosts,
		Header: value(s.Header), Pin: s.Pin == nil || *s.Pin, TTL: value(s.TTL), Cache: value(s.Cache), Why: why,
	}
	switch {
	case out.From != "":
	case out.File != "":
		out.From = "file:" + out.File
	case out.Env != "":
		out.From = "env:" + out.Env
	}
	return out
}

func item[T any](v *T, why string, format func(T) string) Item {
	if v == nil {
		return Item{}
	}
	return Item{Value: format(*v), Why: why}
}

func value(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func text(s string) string { return s }
func whole(n int64) string { return strconv.FormatInt(n, 10) }

var errEmpty = errors.New("an empty value: leave the key out instead")

// check finds what Profile.Check cannot see any more: values that were said and are empty, and keys that leave no wish behind.
// It gives the key at fault.
func (d *document) check() (key string, err error) {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) }
	if strings.ContainsFunc(value(d.Description), unprintable) {
		return "description", errors.New("must be one line of printable text")
	}
	for _, s := range []struct {
		key   string
		value *string
	}{
		{"fs.home", d.FS.Home}, {"net.mode", d.Net.Mode}, {"net.denied", d.Net.Denied},
		{"limits.memory", d.Limits.Memory}, {"limits.wall", d.Limits.Wall},
	} {
		if s.value != nil && *s.value == "" {
			return s.key, errEmpty
		}
	}
	for i, m := range d.Match {
		if m == "" || m != path.Base(m) || m == "." || m == ".." || strings.ContainsFunc(m, unprintable) {
			return fmt.Sprintf("match[%d]", i), fmt.Errorf("%q is not the base name of a command", m)
		}
	}
	for i, e := range d.Extends {
		if !profileName(e) {
			return fmt.Sprintf("extends[%d]", i), fmt.Errorf("%q is not the name of a profile", e)
		}
	}
	for i, r := range d.Net.Rule {
		key := fmt.Sprintf("net.rule[%d].", i)
		switch {
		case r.Ports != nil && len(r.Ports) == 0:
			return key + "ports", errors.New("no ports: leave the key out for 80 and 443")
		case r.Methods != nil && len(r.Methods) == 0:
			return key + "methods", errors.New("no methods: leave the key out for all")
		case r.Paths != nil && len(r.Paths) == 0:
			return key + "paths", errors.New("no paths: leave the key out for all")
		case r.PushRefs != nil && len(r.PushRefs) == 0:
			return key + "push_refs", errors.New("no refs: leave the key out for all")
		}
		if name, empty := anEmpty(map[string]*string{
			"connect": r.Connect, "upstream_ca": r.UpstreamCA, "tls": r.TLS, "git": r.Git, "max_request": r.MaxRequest,
			"max_upload": r.MaxUpload, "api": r.API,
		}); empty {
			return key + name, errEmpty
		}
		for j, port := range r.Ports {
			if port < 1 || port > 65535 {
				return fmt.Sprintf("%sports[%d]", key, j), fmt.Errorf("%d is not a port", port)
			}
		}
	}
	for i, s := range d.Secret {
		key := fmt.Sprintf("secret[%d].", i)
		if name, empty := anEmpty(map[string]*string{
			"env": s.Env, "file": s.File, "pointer": s.Pointer, "from": s.From, "header": s.Header, "ttl": s.TTL, "cache": s.Cache,
		}); empty {
			return key + name, errEmpty
		}
		if s.Hosts == nil {
			return strings.TrimSuffix(key, "."), errors.New("a secret needs hosts: those that get the value, or [] when nobody does")
		}
	}
	return "", nil
}

// anEmpty gives the first, by name, of the values that were said and are empty.
func anEmpty(values map[string]*string) (name string, found bool) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if v := values[name]; v != nil && *v == "" {
			return name, true
		}
	}
	return "", false
}

// profileName says whether s can name a profile: it becomes the name of a file in a directory, and never a path.
func profileName(s string) bool {
	return s != "" && len(s) <= 64 && !strings.HasSuffix(s, ".toml") && !strings.ContainsAny(s[:1], ".-") &&
		strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}
