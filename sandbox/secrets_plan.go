package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/agentjail/agentjail/netns/egress"
	"github.com/agentjail/agentjail/profiles"
)

// Secret is a credential that stays outside. The plan names it, its hosts and where the jail sees a placeholder; the value is in no
// plan, and the placeholder is made when the run starts.
type Secret struct {
	Name    string        `json:"name"`
	From    string        `json:"from"`              // env:NAME, file:PATH, cmd:ARGV, keyring:SERVICE/USER; paths absolute
	Hosts   []string      `json:"hosts"`             // who gets the value; none: nobody
	Header  string        `json:"header,omitempty"`  // as egress.Secret has it
	Pin     bool          `json:"pin"`               // any other credential on these hosts is refused
	Env     string        `json:"env,omitempty"`     // the variable that holds the placeholder
	File    string        `json:"file,omitempty"`    // the file of the jail's home that holds it
	Copy    string        `json:"copy,omitempty"`    // the host's file that File is made from
	Pointer string        `json:"pointer,omitempty"` // where in it (RFC 6901); "": it is the whole file
	TTL     time.Duration `json:"ttl,omitempty"`     // how long the session may use it; nanoseconds; 0: as long as it lasts
	Cache   time.Duration `json:"cache,omitempty"`   // how long the answer of a command or keyring is good; nanoseconds
	Why     string        `json:"why"`

	source profiles.Source // with absolute paths
}

// maxCredential bounds a credential file. Bytes.
const maxCredential = 1 << 20

// secrets plans those that are there. One that was asked for by name (--secret) must be; the others, of profiles that are written for
// many people, are off without their value, and no weaker for it: the jail then has no credential of the user's.
func (w *planner) secrets() error {
	for _, wish := range w.profile.Secrets {
		asked := slices.ContainsFunc(w.profile.Use, func(it profiles.Item) bool { return it.Value == wish.Name })
		if w.plan.Net.Mode.Value == "none" {
			if asked {
				w.note("secret %s is off: without a network nothing can use it", wish.Name)
			}
			continue
		}
		s, err := w.secret(wish)
		if err == nil {
			w.plan.Secrets = append(w.plan.Secrets, *s)
			continue
		}
		missing := errors.Is(err, errNoValue)
		switch {
		case asked && missing:
			return planError("set it, or leave --secret "+wish.Name+" out", "secret %s (%s): %w", wish.Name, wish.Why, err)
		case !missing:
			return planError("", "secret %s (%s): %w", wish.Name, wish.Why, err)
		case !strings.HasPrefix(wish.Why, "built in: "):
			w.note("secret %s (%s) is off: %v", wish.Name, wish.Why, err)
		}
	}
	return w.checkSecrets()
}

// errNoValue says that a secret has no value on this machine.
var errNoValue = errors.New("there is no value")

// secret resolves one wish.
func (w *planner) secret(wish profiles.Secret) (*Secret, error) {
	source, err := wish.Source()
	if err != nil {
		return nil, err
	}
	s := &Secret{Name: wish.Name, From: wish.From, Hosts: slices.Clone(wish.Hosts), Header: wish.Header, Pin: wish.Pin, Env: wish.Env,
		Pointer: wish.Pointer, Why: wish.Why, source: source}
	if s.TTL, err = wish.Lifetime(); err != nil {
		return nil, err
	}
	switch source.Kind {
	case "env":
		if w.host.getenv(source.Name) == "" {
			return nil, fmt.Errorf("%w: the variable %s is not set", errNoValue, source.Name)
		}
	case "file":
		s.source.Name = w.host.absolute(source.Name, w.plan.Project)
		s.From = "file:" + s.source.Name
		if err := w.hasCredential(s.source.Name, wish.Pointer); err != nil {
			return nil, err
		}
	case "cmd":
		if s.source.Argv, err = w.sourceCommand(source.Argv); err != nil {
			return nil, err
		}
	}
	if source.Kind == "cmd" || source.Kind == "keyring" {
		if s.Cache, err = wish.CacheTime(); err != nil {
			return nil, err
		}
	}
	if wish.File != "" {
		s.Copy = w.host.absolute(wish.File, w.plan.Project)
		if !strictlyWithin(s.Copy, w.host.Home) {
			return nil, fmt.Errorf("%s is not in your home", wish.File)
		}
		s.File = path.Join(w.home, strings.TrimPrefix(s.Copy, w.host.Home))
	}
	return s, nil
}

// hasCredential says whether the file holds a value. What it is does not matter here and is forgotten.
func (w *planner) hasCredential(name, pointer string) error {
	p, err := follow(w.files, name)
	if missing(err) {
		return fmt.Errorf("%w: %s does not exist", errNoValue, name)
	}
	if err != nil {
		return err
	}
	if m := w.tree.cover(p.path); m != nil && m.Kind == KindBind && !m.Own {
		return fmt.Errorf("%s is visible in the jail (%s)", name, m.Why)
	}
	data, err := w.files.ReadFile(p.path, maxCredential)
	if err != nil {
		return err
	}
	if _, err := pick(data, pointer); err != nil {
		return fmt.Errorf("%w in %s: %w", errNoValue, name, err)
	}
	return nil
}

// sourceCommand makes a secret's command absolute. What the jail can write is no program to ask for a credential.
func (w *planner) sourceCommand(argv []string) ([]string, error) {
	dirs := searchPath(w.host)
	name := argv[0]
	if strings.HasPrefix(name, "~/") || path.IsAbs(name) {
		dirs, name = []string{path.Dir(w.host.absolute(name, w.plan.Project))}, path.Base(name)
	}
	for _, dir := range dirs {
		p, err := follow(w.files, path.Join(dir, name))
		if err != nil || !p.info.Mode().IsRegular() || p.info.Mode()&0o111 == 0 || strings.Contains(name, "/") {
			continue
		}
		if m := w.tree.cover(p.path); m != nil && m.Kind == KindBind && m.access() == "rw" {
			continue
		}
		return append([]string{p.path}, argv[1:]...), nil
	}
	return nil, fmt.Errorf("%w: no command %s outside of what the jail writes", errNoValue, argv[0])
}

// checkSecrets judges the secrets together and against the policy.
func (w *planner) checkSecrets() error {
	places := map[string]string{}
	for _, s := range w.plan.Secrets {
		for _, place := range []string{s.Env, s.File + s.Pointer} {
			if other, taken := places[place]; taken && place != "" {
				return planError("", "secrets %s and %s have one place: %s", other, s.Name, place)
			}
			places[place] = s.Name
		}
		for _, host := range s.Hosts {
			if !slices.ContainsFunc(w.plan.Net.Policy.Allow, func(r egress.Rule) bool { return covers(r.Host, host) }) {
				w.note("secret %s goes to %s, which no rule allows", s.Name, host)
			}
		}
	}
	return nil
}

// covers says whether a rule's pattern and a secret's have hosts in common.
func covers(rule, host string) bool {
	base, wild := strings.CutPrefix(rule, "*")
	other, otherWild := strings.CutPrefix(host, "*")
	switch {
	case rule == host:
		return true
	case wild && otherWild:
		return strings.HasSuffix(base, other) || strings.HasSuffix(other, base)
	case wild:
		return strings.HasSuffix(host, base)
	}
	return otherWild && strings.HasSuffix(rule, other)
}

// secretEnv puts the secrets' variables into the environment, over whatever else sets them.
func (w *planner) secretEnv(e *environment, ours []string) error {
	for _, s := range w.plan.Secrets {
		if s.Env == "" {
			continue
		}
		if slices.Contains(ours, s.Env) {
			return planError("choose another variable", "secret %s (%s): %s is the jail's own variable", s.Name, s.Why, s.Env)
		}
		if v, set := e.vars[s.Env]; set {
			w.note("%s: %s is not passed; the jail gets the placeholder of secret %s", v.Why, s.Env, s.Name)
		}
		e.vars[s.Env] = Var{Name: s.Env, Secret: s.Name, Why: s.Why}
	}
	return nil
}

// pick gives the value in a credential file: at the pointer, or all of it without the line's end.
func pick(data []byte, pointer string) (string, error) {
	if pointer == "" {
		if v := strings.TrimRight(string(data), "\r\n"); v != "" {
			return v, nil
		}
		return "", errors.New("it is empty")
	}
	var document any
	if err := json.Unmarshal(data, &document); err != nil {
		return "", errors.New("it is not JSON") // the error's own text may quote it
	}
	at, err := locate(document, pointer)
	if err != nil {
		return "", err
	}
	if v, ok := at.get().(string); ok && v != "" {
		return v, nil
	}
	return "", fmt.Errorf("there is no text at %s", pointer)
}
