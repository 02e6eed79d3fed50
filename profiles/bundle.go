package profiles

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Asker asks the host's own tools which registry they use, and so turns bundles (@npm) into hosts.
//
// The agent writes the project, and a project can configure a tool (.npmrc, go.work, pip.conf, .cargo/config.toml) or hold the
// tool itself (.venv/bin, node_modules/.bin on the PATH). So a tool runs in Dir and never in the project, with a short list of
// the caller's variables and none that a project's scripts export (npm_config_*, GOFLAGS, PYTHON*, NODE_OPTIONS, …), and a tool
// that lies in Avoid, or in a place that the profile makes writable, is passed over. A profile that makes the tool's own
// configuration writable cannot have the bundle.
type Asker struct {
	// CacheDir keeps answers for a day; "" keeps none. It decides what is reachable, so it belongs below $XDG_STATE_HOME, where
	// no jail writes, and not in ~/.cache, which people do share with one.
	CacheDir string
	Env      []string         // the caller's environment; PATH and HOME must be in it
	Dir      string           // where the tools run: the caller's home
	Avoid    []string         // directories that a jail writes: the project
	Etc      string           // "" is /etc
	Timeout  time.Duration    // of one run of a tool; 0 is 5 s
	Now      func() time.Time // nil is time.Now
}

// answer is what a tool said.
type answer struct {
	Hosts []Item   `json:"hosts"` // HOST:PORT; Why is the question
	Env   []EnvSet `json:"env,omitempty"`
}

// Expand gives p with every bundle in net.allow replaced by rules that let its hosts be read (GET, HEAD), whose Why tells the
// question and who asked for the bundle. Who wants to publish writes a [[net.rule]] for the host: it comes later and wins.
// Where a mirror is configured the tool in the jail must know it too, and the host's configuration files are not in the jail:
// so env.set gets npm_config_registry, GOPROXY, GOSUMDB or PIP_INDEX_URL, unless p sets or passes it itself or the URL holds a
// credential. p is not changed. The error is an *Error with a hint.
func (a Asker) Expand(ctx context.Context, p *Profile) (*Profile, error) {
	if !slices.ContainsFunc(p.Net.Allow, func(i Item) bool { return strings.HasPrefix(i.Value, "@") }) {
		return p, nil
	}
	out := Merge(p, nil)
	var plain []Item
	var rules []Rule
	a.Avoid = slices.Clone(a.Avoid)
	for _, w := range p.FS.Write {
		a.Avoid = append(a.Avoid, a.path(w.Value))
	}
	for _, i := range p.Net.Allow {
		name, ok := strings.CutPrefix(i.Value, "@")
		if !ok {
			plain = append(plain, i)
			continue
		}
		if p.Net.Mode.Value == "none" {
			continue // nothing is reachable, so nothing need be known
		}
		got, err := a.ask(ctx, name)
		if err != nil {
			return nil, bundleError(name, err)
		}
		for _, h := range got.Hosts {
			h.Why = fmt.Sprintf("@%s (%s), from %s", name, h.Why, i.Why)
			rules = append(rules, bundled(name, h))
		}
		for _, s := range got.Env {
			if !p.mentions(s.Name) {
				s.Why = fmt.Sprintf("@%s (%s), from %s", name, s.Why, i.Why)
				out.Env.Set = joinSet(out.Env.Set, []EnvSet{s})
			}
		}
	}
	out.Net.Allow = join(nil, plain)
	out.Net.Rules = append(rules, out.Net.Rules...) // a rule of the user's for the same host comes later and wins
	return out, nil
}

func bundleError(name string, err error) error {
	e := &Error{Step: "bundle", Err: fmt.Errorf("@%s: %w", name, err), Hint: "name the hosts with --allow HOST instead"}
	var missing missingTool
	if errors.As(err, &missing) {
		e.Hint = "install " + string(missing) + ", or name the hosts with --allow HOST instead"
	}
	return e
}

// mentions says that the profile sets or passes a variable itself.
func (p *Profile) mentions(name string) bool {
	return slices.ContainsFunc(p.Env.Set, func(s EnvSet) bool { return s.Name == name }) ||
		slices.ContainsFunc(p.Env.Pass, func(i Item) bool { ok, err := path.Match(i.Value, name); return ok && err == nil })
}

func (a Asker) ask(ctx context.Context, name string) (*answer, error) {
	switch name {
	case "github":
		return github(), nil
	case "apt":
		return a.apt() // only reads files: nothing to cache
	}
	q, err := a.question(name)
	if err != nil {
		return nil, err
	}
	for _, file := range q.inputs {
		if a.avoided(file) {
			return nil, fmt.Errorf("%s has a say in the answer, and the jail writes it", printable(file))
		}
	}
	return a.cached(name, q.inputs, func() (*answer, error) {
		got, err := q.run(ctx)
		if err == nil && len(got.Hosts) == 0 {
			err = errors.New("no registry with a host is configured")
		}
		return got, err
	})
}

// question is how one bundle is asked for. inputs are the files that the answer depends on: the tool, its configuration.
type question struct {
	inputs []string
	run    func(ctx context.Context) (*answer, error)
}

func (a Asker) question(name string) (question, error) {
	switch name {
	case "npm":
		return a.npm()
	case "go":
		return a.golang()
	case "pip":
		return a.pip()
	case "cargo":
		return a.cargo()
	}
	return question{}, fmt.Errorf("no such bundle: the bundles are @%s", strings.Join(Bundles(), ", @"))
}

// github is fixed: clone and fetch over HTTPS, the API, archives, release files, LFS and raw files. Not in it: ssh (say
// --allow github.com:22), gists, Pages, Actions' storage and package registries.
func github() *answer {
	got := &answer{}
	for _, h := range []string{
		"github.com", "api.github.com", "codeload.github.com",
		"objects.githubusercontent.com", "release-assets.githubusercontent.com",
		"raw.githubusercontent.com", "media.githubusercontent.com",
	} {
		got.Hosts = append(got.Hosts, Item{Value: h + ":443", Why: "fixed"})
	}
	return got
}

// bundled gives the rule for a host of a bundle: reads alone, whatever token the jail holds. Where GitHub answers questions that
// are posted, its own judge tells them from writes.
//
// A company's mirror has a private address, and that the user set the tool up for it says that it may. Fixed hosts and wildcards
// are public ones.
func bundled(bundle string, h Item) Rule {
	host, port, _ := strings.Cut(h.Value, ":")
	n, _ := strconv.Atoi(port) // allow has checked it
	rule := Rule{Host: host, Ports: []int{n}, Methods: []string{"GET", "HEAD"}, Why: h.Why}
	switch {
	case bundle != "github":
		rule.Private = !strings.HasPrefix(host, "*.")
	case host == "github.com":
		rule.Methods, rule.API, rule.Git = nil, "github", "fetch"
	case host == "api.github.com":
		rule.Methods, rule.API = nil, "github"
	}
	return rule
}

// allow adds the host and port of a registry's URL.
func (r *answer) allow(raw, why string) error {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil {
		return fmt.Errorf("%s: not a URL", why) // the text may hold a password
	}
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case u.Scheme == "http":
		port = "80"
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	switch _, err := netip.ParseAddr(host); {
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%s: %s: neither http nor https", why, printable(u.Redacted()))
	case err == nil || host == "localhost" || strings.HasSuffix(host, ".localhost"):
		return fmt.Errorf("%s: %s is an address of this machine's network, and the jail reaches names alone: "+
			"give it a name with a [[net.rule]] that has connect", why, printable(host))
	}
	if err := checkAddress(host + ":" + port); err != nil {
		return fmt.Errorf("%s: %w", why, err)
	}
	r.Hosts = join(r.Hosts, []Item{{Value: host + ":" + port, Why: why}})
	return nil
}

// set tells the tool in the jail what its own configuration said, when there is no credential in it.
func (r *answer) set(name, value, why string) {
	for _, part := range strings.FieldsFunc(value, func(c rune) bool { return strings.ContainsRune(",| ", c) }) {
		if u, err := url.Parse(part); err != nil || u.User != nil {
			return
		}
	}
	if value != "" {
		r.Env = append(r.Env, EnvSet{Name: name, Value: value, Why: why})
	}
}
