package profiles

import "slices"

// Merge gives what base and over wish together; neither is changed. Lists are joined, and a value that both name keeps the Why
// of base. A single value and a limit are over's when over says them. A variable that both set has over's value. Deny is a list
// like any other, so nothing that over says takes a denial of base away. Merge is associative, and merging a profile into itself
// or into an empty one changes nothing but the name.
func Merge(base, over *Profile) *Profile {
	if base == nil {
		base = &Profile{}
	}
	if over == nil {
		over = &Profile{}
	}
	return &Profile{
		Name:        joinNames(base.Name, over.Name),
		Description: either(base.Description, over.Description),
		Match:       joinBy(base.Match, over.Match, func(s string) string { return s }),
		Extends:     joinBy(base.Extends, over.Extends, func(s string) string { return s }),
		FS: FS{
			Read:      join(base.FS.Read, over.FS.Read),
			Write:     join(base.FS.Write, over.FS.Write),
			Hide:      join(base.FS.Hide, over.FS.Hide),
			Protect:   join(base.FS.Protect, over.FS.Protect),
			Unprotect: join(base.FS.Unprotect, over.FS.Unprotect),
			Copy:      join(base.FS.Copy, over.FS.Copy),
			Home:      said(base.FS.Home, over.FS.Home),
		},
		Net: Net{
			Mode:     said(base.Net.Mode, over.Net.Mode),
			Denied:   said(base.Net.Denied, over.Net.Denied),
			ProxyEnv: said(base.Net.ProxyEnv, over.Net.ProxyEnv),
			Allow:    join(base.Net.Allow, over.Net.Allow),
			Deny:     join(base.Net.Deny, over.Net.Deny),
			Rules:    joinRules(base.Net.Rules, over.Net.Rules),
		},
		Limits: Limits{
			Memory: said(base.Limits.Memory, over.Limits.Memory),
			Pids:   said(base.Limits.Pids, over.Limits.Pids),
			CPUs:   said(base.Limits.CPUs, over.Limits.CPUs),
			Files:  said(base.Limits.Files, over.Limits.Files),
			Wall:   said(base.Limits.Wall, over.Limits.Wall),
		},
		Syscalls: join(base.Syscalls, over.Syscalls),
		Env: Env{
			Pass: join(base.Env.Pass, over.Env.Pass),
			Set:  joinSet(base.Env.Set, over.Env.Set),
		},
		Secrets: joinSecrets(base.Secrets, over.Secrets),
		Use:     join(base.Use, over.Use),
	}
}

func joinNames(base, over string) string {
	if base == "" || over == "" {
		return base + over
	}
	return base + "+" + over
}

func either(base, over string) string {
	if over != "" {
		return over
	}
	return base
}

func said(base, over Item) Item {
	if over.Value != "" {
		return over
	}
	return base
}

func join(base, over []Item) []Item {
	return joinBy(base, over, func(i Item) string { return i.Value })
}

// joinBy keeps the first of the entries with one key.
func joinBy[T any](base, over []T, key func(T) string) []T {
	var out []T
	seen := make(map[string]bool, len(base)+len(over)) // of 500 hosts it would grow six times
	for _, v := range slices.Concat(base, over) {
		if k := key(v); !seen[k] {
			seen[k] = true
			out = append(out, v)
		}
	}
	return out
}

func joinRules(base, over []Rule) []Rule {
	var out []Rule
	for _, r := range slices.Concat(base, over) {
		if !slices.ContainsFunc(out, r.same) {
			r.Ports, r.Methods, r.Paths = slices.Clone(r.Ports), slices.Clone(r.Methods), slices.Clone(r.Paths)
			r.PushRefs, r.ServerTools = slices.Clone(r.PushRefs), slices.Clone(r.ServerTools)
			out = append(out, r)
		}
	}
	return out
}

// same says that two rules wish the same, wherever they were made.
func (r Rule) same(o Rule) bool {
	return r.Host == o.Host && slices.Equal(r.Ports, o.Ports) && r.Private == o.Private && r.Connect == o.Connect && r.UpstreamCA == o.UpstreamCA &&
		r.TLS == o.TLS && slices.Equal(r.Methods, o.Methods) && slices.Equal(r.Paths, o.Paths) && r.Git == o.Git &&
		slices.Equal(r.PushRefs, o.PushRefs) && r.MaxRequest == o.MaxRequest && r.MaxUpload == o.MaxUpload && r.API == o.API &&
		slices.Equal(r.ServerTools, o.ServerTools)
}

// joinSecrets keeps the place of the first and the whole definition of the last of the entries with one name: half of one and half
// of the other would be a secret that nobody wrote.
func joinSecrets(base, over []Secret) []Secret {
	var out []Secret
	for _, s := range slices.Concat(base, over) {
		s.Hosts = slices.Clone(s.Hosts)
		if i := slices.IndexFunc(out, func(o Secret) bool { return o.Name == s.Name }); i >= 0 {
			out[i] = s
			continue
		}
		out = append(out, s)
	}
	return out
}

// joinSet keeps the place of the first and the value of the last of the entries for one variable.
func joinSet(base, over []EnvSet) []EnvSet {
	var out []EnvSet
	for _, s := range slices.Concat(base, over) {
		if i := slices.IndexFunc(out, func(o EnvSet) bool { return o.Name == s.Name }); i >= 0 {
			out[i] = s
			continue
		}
		out = append(out, s)
	}
	return out
}
