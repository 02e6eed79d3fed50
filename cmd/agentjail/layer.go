package main

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"github.com/agentjail/agentjail/profiles"
)

// layer is what the flags wish, as a profile to be merged over all others. A path is relative to dir, where the person stands;
// paths and patterns of --hide, --protect and --unprotect belong to the project and are left as they are.
func (f *flags) layer(dir string) (*profiles.Profile, error) {
	p := &profiles.Profile{
		FS: profiles.FS{
			Read:      items("--ro", absolute(dir, f.files.ro)),
			Write:     items("--rw", absolute(dir, f.files.rw)),
			Hide:      items("--hide", f.files.hide),
			Protect:   items("--protect", f.files.protect),
			Unprotect: items("--unprotect", f.files.unprotect),
			Home:      item("--home", f.files.home),
		},
		Net: profiles.Net{
			Mode:  item("--net", f.net.mode),
			Allow: items("--allow", f.net.allow),
			Deny:  items("--deny", f.net.deny),
		},
	}
	for _, e := range f.env {
		name, value, set := strings.Cut(e, "=")
		switch {
		case name == "":
			return nil, usage("agentjail run --help", "--env %s: want NAME or NAME=VALUE", e)
		case set:
			p.Env.Set = append(p.Env.Set, profiles.EnvSet{Name: name, Value: value, Why: "--env"})
		default:
			p.Env.Pass = append(p.Env.Pass, profiles.Item{Value: name, Why: "--env"})
		}
	}
	for _, l := range f.limits {
		key, value, set := strings.Cut(l, "=")
		if !set {
			return nil, usage("agentjail run --limit memory=4GiB", "--limit %s: want KEY=VALUE", l)
		}
		if err := p.Limits.Set(key, value, "--limit"); err != nil {
			example := map[string]string{"pids": "500", "cpus": "0.5", "files": "1024", "wall": "90m"}
			hint := "agentjail run --limit memory=4GiB"
			if v := example[key]; v != "" {
				hint = "agentjail run --limit " + key + "=" + v
			}
			return nil, usage(hint, "--limit %s: %w", l, err)
		}
	}
	if f.net.mode == "none" && len(f.net.allow) > 0 {
		return nil, usage("leave one of the two out", "--allow %s with --net none: without a network nothing can be reached", f.net.allow[0])
	}
	for _, address := range f.net.allow {
		if at, err := netip.ParseAddrPort(address); err == nil {
			return nil, literal(at)
		} else if ip, err := netip.ParseAddr(address); err == nil {
			return nil, literal(netip.AddrPortFrom(ip, 443))
		}
	}
	if err := p.Check(); err != nil {
		return nil, usage("agentjail run --help", "%w", err)
	}
	return p, nil
}

// literal explains why no address can be allowed, and what can.
func literal(at netip.AddrPort) error {
	return usage(fmt.Sprintf("give it a name, in a profile:\n[[net.rule]]\nhost = \"server.example\"\nports = [%d]\nconnect = %q", at.Port(), at),
		"--allow %s: the door lets names through, not addresses: of an address nobody can tell which host was meant", at.Addr())
}

func item(flag, value string) profiles.Item {
	if value == "" {
		return profiles.Item{}
	}
	return profiles.Item{Value: value, Why: flag}
}

func items(flag string, values []string) []profiles.Item {
	var list []profiles.Item
	for _, v := range values {
		list = append(list, item(flag, v))
	}
	return list
}

// absolute takes paths as the shell left them. One that begins with ~ is for package sandbox to expand: bash leaves the ~ of
// --ro=~/x alone.
func absolute(dir string, paths []string) []string {
	var list []string
	for _, p := range paths {
		if !filepath.IsAbs(p) && p != "~" && !strings.HasPrefix(p, "~/") {
			p = filepath.Join(dir, p)
		}
		list = append(list, p)
	}
	return list
}
