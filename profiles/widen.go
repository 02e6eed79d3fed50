package profiles

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A rule of widening says for one key of a profile what of project's wishes base does not grant already.
type widening struct {
	key   string // as the field is reached from Profile: "FS.Read"
	wider func(base, project *Profile) []Item
}

// Widens gives what the project's own profile would allow beyond base: each wish, and where it is made. Empty means that it only
// narrows, and may be merged without asking anyone. What is not known to narrow widens.
func Widens(base, project *Profile) []Item {
	if project == nil {
		return nil
	}
	if base == nil {
		base = &Profile{}
	}
	var out []Item
	for _, w := range widenings() {
		out = append(out, w.wider(base, project)...)
	}
	return out
}

// widenings has one entry for each key; a test holds that none is missing.
func widenings() []widening {
	return []widening{
		{"Name", narrows},
		{"Description", narrows},
		{"Match", func(_, p *Profile) []Item { return plain("match", p.Match) }},
		{"Extends", func(_, p *Profile) []Item { return plain("extends", p.Extends) }},
		{"FS.Read", func(b, p *Profile) []Item { return added(slices.Concat(b.FS.Read, b.FS.Write), p.FS.Read) }},
		{"FS.Write", func(b, p *Profile) []Item { return added(b.FS.Write, p.FS.Write) }},
		{"FS.Hide", narrows},
		{"FS.Protect", narrows},
		{"FS.Unprotect", func(b, p *Profile) []Item { return added(b.FS.Unprotect, p.FS.Unprotect) }},
		{"FS.Copy", func(b, p *Profile) []Item { return added(b.FS.Copy, p.FS.Copy) }},
		{"FS.Home", func(b, p *Profile) []Item { return unless(p.FS.Home, "ephemeral", b.FS.Home.Value) }},
		// Nobody said is "door".
		{"Net.Mode", func(b, p *Profile) []Item { return unless(p.Net.Mode, "none", either("door", b.Net.Mode.Value)) }},
		{"Net.Denied", func(b, p *Profile) []Item {
			return unless(p.Net.Denied, "nxdomain", either("explain", b.Net.Denied.Value))
		}},
		{"Net.ProxyEnv", func(b, p *Profile) []Item { return unless(p.Net.ProxyEnv, "false", b.Net.ProxyEnv.Value) }},
		{"Net.Allow", func(b, p *Profile) []Item { return added(b.Net.Allow, p.Net.Allow) }},
		{"Net.Deny", narrows},
		{"Net.Rules", addedRules},
		{"Limits.Memory", func(b, p *Profile) []Item { return raised("memory", b, p) }},
		{"Limits.Pids", func(b, p *Profile) []Item { return raised("pids", b, p) }},
		{"Limits.CPUs", func(b, p *Profile) []Item { return raised("cpus", b, p) }},
		{"Limits.Files", func(b, p *Profile) []Item { return raised("files", b, p) }},
		{"Limits.Wall", func(b, p *Profile) []Item { return raised("wall", b, p) }},
		{"Syscalls", func(b, p *Profile) []Item { return added(b.Syscalls, p.Syscalls) }},
		{"Env.Pass", func(b, p *Profile) []Item { return added(b.Env.Pass, p.Env.Pass) }},
		{"Env.Set", addedSet},
		{"Secrets", func(_, p *Profile) []Item { return definedSecrets(p) }},
		{"Use", func(_, p *Profile) []Item { return added(nil, p.Use) }},
	}
}

func narrows(_, _ *Profile) []Item { return nil }

func plain(key string, values []string) []Item {
	var out []Item
	for i, v := range values {
		out = append(out, Item{Value: printable(v), Why: fmt.Sprintf("%s: %s[%d]", ProjectFile, key, i)})
	}
	return out
}

// added gives the items whose value base does not have.
func added(base, project []Item) []Item {
	var out []Item
	for _, i := range project {
		if !slices.ContainsFunc(base, func(b Item) bool { return b.Value == i.Value }) {
			out = append(out, Item{Value: printable(i.Value), Why: i.Why})
		}
	}
	return out
}

// unless gives the item when its value is none of those that are not wider.
func unless(i Item, narrow ...string) []Item {
	if i.Value == "" || slices.Contains(narrow, i.Value) {
		return nil
	}
	return []Item{{Value: printable(i.Value), Why: i.Why}}
}

// raised gives the limit when it is higher than base's. Where base has none, it is measured by what a plan bounds by itself.
func raised(name string, base, project *Profile) []Item {
	limit, bound := project.Limits.Get(name), base.Limits.Get(name)
	if bound.Value == "" {
		bound.Value = unsaid(name)
	}
	if limit.Value == "" || bound.Value == "" {
		return nil
	}
	n, err := limitValue(name, limit.Value)
	m, berr := limitValue(name, bound.Value)
	if err == nil && berr == nil && n <= m {
		return nil
	}
	return []Item{{Value: printable(limit.Value), Why: limit.Why}}
}

// unsaid is a bound that no plan exceeds when nobody said a limit, "" for those that are then without bound. A plan gives three
// quarters of the machine's memory; 3 GiB is that of a machine of 4 GiB, and agents are not run on less.
func unsaid(name string) string {
	switch name {
	case "memory":
		return "3GiB"
	case "pids":
		return "4096"
	case "files":
		return "65536"
	}
	return ""
}

func addedRules(base, project *Profile) []Item {
	var out []Item
	for _, r := range project.Net.Rules {
		if !slices.ContainsFunc(base.Net.Rules, r.same) {
			out = append(out, Item{Value: printable(r.String()), Why: r.Why})
		}
	}
	return out
}

// String is one line: the host, and each thing that makes the rule more than an allowed host.
func (r Rule) String() string {
	var b strings.Builder
	b.WriteString(r.Host)
	for i, port := range r.Ports {
		b.WriteString([]string{":", ","}[min(i, 1)] + strconv.Itoa(port))
	}
	if r.Private {
		b.WriteString(" private")
	}
	if r.Connect != "" {
		b.WriteString(" connect=" + r.Connect)
	}
	if r.UpstreamCA != "" {
		b.WriteString(" upstream_ca=" + r.UpstreamCA)
	}
	for _, field := range []struct {
		key    string
		values []string
	}{
		{"tls", []string{r.TLS}}, {"methods", r.Methods}, {"paths", r.Paths}, {"git", []string{r.Git}}, {"push_refs", r.PushRefs},
		{"max_request", []string{r.MaxRequest}}, {"max_upload", []string{r.MaxUpload}}, {"api", []string{r.API}},
		{"server_tools", r.ServerTools},
	} {
		if text := strings.Join(field.values, ","); text != "" {
			b.WriteString(" " + field.key + "=" + text)
		}
	}
	return b.String()
}

// definedSecrets are all of them: a definition says where a value of the user's goes.
func definedSecrets(p *Profile) []Item {
	var out []Item
	for _, s := range p.Secrets {
		out = append(out, Item{Value: printable("secret " + s.Name + " to " + strings.Join(s.Hosts, ",")), Why: s.Why})
	}
	return out
}

func addedSet(base, project *Profile) []Item {
	var out []Item
	for _, s := range project.Env.Set {
		if !slices.ContainsFunc(base.Env.Set, func(b EnvSet) bool { return b.Name == s.Name && b.Value == s.Value }) {
			out = append(out, Item{Value: printable(s.Name + "=" + s.Value), Why: s.Why})
		}
	}
	return out
}
