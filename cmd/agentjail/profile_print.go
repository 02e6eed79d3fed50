package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/agentjail/agentjail/profiles"
)

// printProfile shows each wish, one a line, with the place where it was made.
func printProfile(w io.Writer, p *profiles.Profile) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(key, value, why string) {
		switch {
		case value == "":
		case why == "": // a last cell does not widen its column
			fmt.Fprintf(tw, "%s\t%s\n", key, printable(value))
		default:
			fmt.Fprintf(tw, "%s\t%s\t%s\n", key, printable(value), printable(why))
		}
	}
	rows := func(key string, list []profiles.Item) {
		for _, i := range list {
			row(key, i.Value, i.Why)
		}
	}
	row("name", p.Name, "")
	row("description", p.Description, "")
	row("match", strings.Join(p.Match, " "), "")
	rows("fs.read", p.FS.Read)
	rows("fs.write", p.FS.Write)
	rows("fs.hide", p.FS.Hide)
	rows("fs.protect", p.FS.Protect)
	rows("fs.unprotect", p.FS.Unprotect)
	rows("fs.copy", p.FS.Copy)
	row("fs.home", p.FS.Home.Value, p.FS.Home.Why)
	row("net.mode", p.Net.Mode.Value, p.Net.Mode.Why)
	row("net.denied", p.Net.Denied.Value, p.Net.Denied.Why)
	row("net.proxy_env", p.Net.ProxyEnv.Value, p.Net.ProxyEnv.Why)
	rows("net.allow", p.Net.Allow)
	rows("net.deny", p.Net.Deny)
	for _, r := range p.Net.Rules {
		row("net.rule", r.String(), r.Why)
	}
	rows("syscalls.groups", p.Syscalls)
	for _, name := range profiles.LimitNames() {
		i := p.Limits.Get(name)
		row("limits."+name, i.Value, i.Why)
	}
	rows("env.pass", p.Env.Pass)
	for _, s := range p.Env.Set {
		row("env.set", s.Name+"="+s.Value, s.Why)
	}
	for _, s := range p.Secrets {
		row("secret", s.String(), s.Why)
	}
	return tw.Flush()
}
