package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/agentjail/agentjail/netns/egress"
)

// keeper holds a session's secrets in the launcher. The values are nowhere else: the door asks for one when a request needs it, and
// the gateway, init and the command are told placeholders.
type keeper struct {
	secrets []*kept
	now     func() time.Time
	started time.Time

	mu  sync.Mutex
	end func(names ...string) // ends what is under way with these secrets; nil: there is no door yet
}

// kept is one secret while the session lasts.
type kept struct {
	Secret
	placeholder string
	source      source

	mu      sync.Mutex
	revoked bool
	last    string // value that the source gave
}

// newKeeper asks for every value once, to give it a placeholder of its shape. A secret that the plan has and nobody can give ends the
// run here.
func newKeeper(ctx context.Context, p *Plan, h *Host, now func() time.Time) (*keeper, error) {
	k := &keeper{now: now, started: now()}
	for _, s := range p.Secrets {
		one := &kept{Secret: s, source: newSource(&s, h, now)}
		value, err := one.source.value(ctx)
		if err == nil {
			one.placeholder, err = egress.Placeholder(value, rand.Reader)
		}
		if err == nil {
			err = p.holds(value)
		}
		if err != nil {
			return nil, &Error{Step: StepSecrets, Err: fmt.Errorf("secret %s from %s: %w", s.Name, s.From, err),
				Hint: "see " + s.Why + ": mend the source, or leave the secret out"}
		}
		one.last = value
		k.secrets = append(k.secrets, one)
	}
	return k, nil
}

// holds finds a value in what the jail will see. The user may have passed the same key in another variable, or typed it.
func (p *Plan) holds(value string) error {
	for _, arg := range p.Command.Argv {
		if strings.Contains(arg, value) {
			return errors.New("its value is in the command's arguments, which the jail sees")
		}
	}
	for _, v := range p.Command.Env {
		if strings.Contains(v.Value, value) {
			return fmt.Errorf("its value is in the variable %s (%s) as well, which the jail sees", v.Name, v.Why)
		}
	}
	for _, m := range p.Mounts {
		if strings.Contains(string(m.Data), value) {
			return fmt.Errorf("its value is in %s (%s), which the jail sees", m.Target, m.Why)
		}
	}
	return nil
}

// policy gives the door's half of the secrets.
func (k *keeper) policy() []egress.Secret {
	var all []egress.Secret
	for _, s := range k.secrets {
		all = append(all, egress.Secret{Name: s.Name, Placeholder: s.placeholder, Hosts: s.Hosts, Header: s.Header, Pin: s.Pin, Why: s.Why})
	}
	return all
}

// environ gives the placeholder of the secret that a variable holds.
func (k *keeper) environ(v Var) string {
	for _, s := range k.secrets {
		if s.Name == v.Secret {
			return s.placeholder
		}
	}
	return v.Value
}

// files gives the copies of credential files, with the placeholders of all secrets that a file holds.
func (k *keeper) files() ([]Mount, error) {
	type file struct {
		from, why    string
		placeholders map[string]string
	}
	files := map[string]*file{}
	var order []string
	for _, s := range k.secrets {
		if s.File == "" {
			continue
		}
		if files[s.File] == nil {
			files[s.File] = &file{from: s.Copy, why: "secret " + s.Name + ": " + s.Why, placeholders: map[string]string{}}
			order = append(order, s.File)
		}
		files[s.File].placeholders[s.Pointer] = s.placeholder
	}
	var mounts []Mount
	for _, target := range order {
		f := files[target]
		var data []byte
		var err error
		if _, whole := f.placeholders[""]; !whole {
			data, err = diskFiles{}.ReadFile(f.from, maxCredential)
		}
		if err == nil {
			data, err = disguise(data, f.placeholders)
		}
		if err != nil {
			return nil, &Error{Step: StepSecrets, Err: fmt.Errorf("copy %s: %w", f.from, err)}
		}
		mounts = append(mounts, Mount{Kind: KindFile, Target: target, Data: data, Mode: 0o600, Why: f.why})
	}
	return mounts, nil
}

// value is the door's question for the value that a secret has now.
func (k *keeper) value(ctx context.Context, name string) (string, error) {
	s, err := k.named(name)
	if err != nil {
		return "", err
	}
	if err := s.usable(k); err != nil {
		return "", err
	}
	v, err := s.ask(ctx)
	if err != nil {
		return "", err
	}
	return v, s.usable(k) // it may have been revoked while its source was asked
}

// known is the door's question for the value that it looks for in answers, also when the session may not use it any more. Commands and
// keyrings are not asked for that, which may ask a person: of theirs it is the last one.
func (k *keeper) known(ctx context.Context, name string) (string, error) {
	s, err := k.named(name)
	if err != nil {
		return "", err
	}
	if _, asks := s.source.(*cached); !asks {
		if v, err := s.ask(ctx); err == nil {
			return v, nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, nil
}

func (k *keeper) named(name string) (*kept, error) {
	i := slices.IndexFunc(k.secrets, func(s *kept) bool { return s.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("no secret %q", name)
	}
	return k.secrets[i], nil
}

// ask asks the secret's source, and keeps what it gives.
func (s *kept) ask(ctx context.Context) (string, error) {
	v, err := s.source.value(ctx)
	if err == nil {
		s.mu.Lock()
		s.last = v
		s.mu.Unlock()
	}
	return v, err
}

// usable says whether the session may use the secret.
func (s *kept) usable(k *keeper) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.revoked {
		return egress.ErrRevoked
	}
	if s.TTL > 0 && k.now().Sub(k.started) >= s.TTL {
		return fmt.Errorf("%w: its %v are over", egress.ErrRevoked, s.TTL)
	}
	return nil
}

// cutting has end called with the names of secrets that the session may not use any more, as soon as that is so: in revoke, and when a
// ttl is over.
func (k *keeper) cutting(end func(names ...string)) {
	k.mu.Lock()
	k.end = end
	k.mu.Unlock()
	for _, s := range k.secrets {
		if s.TTL > 0 {
			time.AfterFunc(s.TTL-k.now().Sub(k.started), func() { end(s.Name) })
		}
	}
}

// cut ends what is under way with the secrets.
func (k *keeper) cut(names []string) {
	k.mu.Lock()
	end := k.end
	k.mu.Unlock()
	if end != nil {
		end(names...)
	}
}

// revoke ends the use of one secret, or of all, and gives the names of those that it ended. It is for the rest of the session.
func (k *keeper) revoke(name string) ([]string, error) {
	names := []string{}
	if k == nil {
		return names, errors.New("the session has no secrets")
	}
	known := false
	for _, s := range k.secrets {
		if name != "" && s.Name != name {
			continue
		}
		known = true
		s.mu.Lock()
		if !s.revoked {
			names = append(names, s.Name)
		}
		s.revoked = true
		s.mu.Unlock()
	}
	if !known {
		return names, fmt.Errorf("the session has no secret %q", name)
	}
	k.cut(names)
	return names, nil
}

// counts are the report's: each secret of the plan, used or not.
func (k *keeper) counts(d *door) []egress.SecretCount {
	all := []egress.SecretCount{}
	if k == nil || d == nil {
		return all
	}
	seen := d.SecretReport()
	for _, s := range k.secrets {
		count := egress.SecretCount{Name: s.Name}
		for _, c := range seen {
			if c.Name == s.Name {
				count = c
			}
		}
		all = append(all, count)
	}
	return all
}
