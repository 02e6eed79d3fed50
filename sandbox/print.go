package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/agentjail/agentjail/netns/egress"
)

// Print writes the plan as text: one line for each thing that will be done, with the reason at its end. What a name holds is
// quoted where it could be taken for something else; the bytes of files and the values of credentials are not shown.
func (p *Plan) Print(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	section := func(title string) { fmt.Fprintf(out, "\n%s\n", title) }
	line := func(why string, cells ...string) {
		fmt.Fprintf(out, "  %s\t# %s\n", strings.Join(cells, "\t"), printable(why))
	}
	p = p.display()

	fmt.Fprintf(out, "profile %s, project %s\n", printable(p.Profile), printable(p.Project))
	section("command")
	argv := make([]string, len(p.Command.Argv))
	for i, arg := range p.Command.Argv {
		argv[i] = word(arg)
	}
	line("as typed", "argv", strings.Join(argv, " "))
	if p.Command.Problem != "" {
		line("no run will start it", "problem", p.Command.Problem)
	} else {
		line("what execve(2) gets", "path", word(p.Command.Path))
	}
	line("working directory", "dir", word(p.Command.Dir))
	line("a terminal of the jail's own", "tty", p.TTY)

	section("identity")
	line(p.Identity.Why, "inside", fmt.Sprintf("uid %d gid %d (%s)", p.Identity.UID, p.Identity.GID, word(p.Identity.User)))
	line(p.Identity.Why, "on the host", fmt.Sprintf("uid %d gid %d", p.Identity.HostUID, p.Identity.HostGID))
	line(p.Home.Why, "home", p.Home.Value+" "+word(p.Identity.Home))

	section("files (the root is a read-only tmpfs; what is not here does not exist)")
	for _, m := range p.Mounts {
		line(m.Why, m.Kind, m.access(), m.text())
	}
	if len(p.Watch) > 0 {
		section("watched (named at the end of the run when changed)")
		folded := 0
		for _, watch := range p.Watch {
			if watch.builtIn() {
				folded++
				continue
			}
			line(watch.Why, watch.state(), word(watch.Path))
		}
		if folded > 0 {
			line("tools of the host would run or obey them; --json names each", "missing", fmt.Sprintf("%d paths that are protected where they exist", folded))
		}
	}
	p.printNetwork(section, line)
	if len(p.Secrets) > 0 {
		section("secrets (the jail sees placeholders; the door puts the values in)")
		for _, s := range p.Secrets {
			line(s.Why, word(s.Name), s.text())
		}
	}
	section("system calls (on top of the base policy)")
	for _, s := range p.Syscalls {
		line(s.Why, "group", s.Value)
	}
	section("limits")
	for _, l := range p.Limits {
		line(l.Why, l.Name, l.text())
	}
	section("environment")
	for _, v := range p.Command.Env {
		fmt.Fprintf(out, "  %s=%s  # %s\n", v.Name, word(v.Value), printable(v.Why)) // no columns: PATH is as long as it is
	}
	for _, wall := range p.Degraded {
		section("may fall: " + wall + "  # --allow-degraded")
	}
	if notes := slices.Concat(p.Warnings, p.Notes); len(notes) > 0 {
		section("notes")
		for _, n := range notes {
			fmt.Fprintf(out, "  %s\n", printable(n))
		}
	}
	return out.Flush()
}

func (p *Plan) printNetwork(section func(string), line func(string, ...string)) {
	section("network")
	line(p.Net.Mode.Why, "mode", p.Net.Mode.Value)
	if p.Net.Mode.Value == "none" {
		return
	}
	ports := func(ports []uint16) string {
		if len(ports) == 0 {
			return "every port"
		}
		text := make([]string, len(ports))
		for i, port := range ports {
			text[i] = strconv.Itoa(int(port))
		}
		return strings.Join(text, ",")
	}
	for _, r := range p.Net.Policy.Allow {
		how := ports(r.Ports)
		if r.Private {
			how += " private"
		}
		if r.Connect != "" {
			how += " connect " + r.Connect
		}
		if r.UpstreamCA != nil {
			how += " own CA"
		}
		how += requestsText(r)
		line(r.Why, "allow", word(r.Host), how)
	}
	for _, r := range p.Net.Policy.Deny {
		line(r.Why, "deny", word(r.Host), ports(r.Ports))
	}
	if p.Net.Policy.Explain {
		line("default", "else", "refused, with an explanation")
	} else {
		line("net.denied", "else", "NXDOMAIN")
	}
	for _, s := range p.Trust {
		from := "the additions alone"
		if s.Source != "" {
			from = word(s.Source) + " and the additions"
		}
		line(s.Why, "trust", word(s.Target), s.Format+": "+from)
	}
}

// MarshalJSON gives the plan for people and scripts, without the bytes of files and the values of credentials. What the gateway
// and init are told is made of the plan's parts, which keep theirs.
func (p *Plan) MarshalJSON() ([]byte, error) {
	type plain Plan
	return json.Marshal((*plain)(p.display()))
}

// display gives a copy for people: plans are pasted into issues. Files keep their size in place of their bytes.
func (p *Plan) display() *Plan {
	shown := *p
	shown.Mounts = slices.Clone(p.Mounts)
	for i := range shown.Mounts {
		if m := &shown.Mounts[i]; m.Data != nil {
			m.Size, m.Data = int64(len(m.Data)), nil
		}
	}
	shown.Command.Env = slices.Clone(p.Command.Env)
	for i := range shown.Command.Env {
		switch v := &shown.Command.Env[i]; {
		case v.Secret != "":
			v.Value = "(placeholder of " + v.Secret + ")"
		case secretName(v.Name) && v.Value != "":
			v.Value = fmt.Sprintf("(%d bytes)", len(v.Value))
		}
	}
	return &shown
}

// secretName guesses from its name whether a variable holds a credential.
func secretName(name string) bool {
	name = strings.ToUpper(name)
	return slices.ContainsFunc([]string{"KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL", "AUTH", "COOKIE", "DSN", "DATABASE_URL"},
		func(part string) bool { return strings.Contains(name, part) })
}

// requestsText says what a rule allows to be asked, "" when it does not look at requests.
func requestsText(r egress.Rule) string {
	var b strings.Builder
	say := func(key string, values ...string) {
		if text := strings.Join(values, ","); text != "" {
			b.WriteString(" " + key + " " + word(text))
		}
	}
	say("tls", r.TLS)
	say("methods", r.Methods...)
	say("paths", r.Paths...)
	say("git", r.Git)
	say("push_refs", r.PushRefs...)
	if r.MaxRequest > 0 {
		say("max_request", strconv.FormatInt(r.MaxRequest, 10))
	}
	if r.MaxUpload > 0 {
		say("max_upload", strconv.FormatInt(r.MaxUpload, 10))
	}
	say("api", r.API)
	say("server_tools", r.ServerTools...)
	return b.String()
}

// text says where a secret comes from, where the jail sees its placeholder and who gets it.
func (s Secret) text() string {
	text := "from " + word(s.From)
	if s.Env != "" {
		text += " in $" + s.Env
	}
	if s.File != "" {
		text += " in " + word(s.File)
	}
	if s.Pointer != "" {
		text += " at " + word(s.Pointer)
	}
	to := "nobody"
	if len(s.Hosts) > 0 {
		to = word(strings.Join(s.Hosts, ","))
	}
	text += " to " + to
	if s.Header != "" {
		text += " as " + word(s.Header)
	}
	if s.Pin && len(s.Hosts) > 0 {
		text += " pinned"
	}
	if s.TTL > 0 {
		text += " for " + s.TTL.String()
	}
	return text
}

func (m Mount) access() string {
	switch {
	case m.Kind == KindMask:
		return "--"
	case m.ReadOnly, m.Kind == KindFile && strings.HasPrefix(m.Target, "/etc/"), m.Kind == KindDir, m.Kind == KindSymlink:
		return "ro"
	}
	return "rw"
}

func (m Mount) text() string {
	text := word(m.Target)
	switch {
	case m.Kind == KindSymlink:
		text += " -> " + word(m.Source)
	case m.Source != "" && m.Source != m.Target:
		text += " from " + word(m.Source)
	}
	if m.Size > 0 {
		text += fmt.Sprintf(" (%d bytes)", m.Size)
	}
	if m.IDMap {
		text += " (idmapped)"
	}
	return text
}

func (w Watch) state() string {
	switch {
	case w.Link != "":
		return "link"
	case w.Sum != "":
		return "content"
	case w.Pattern:
		return "pattern"
	}
	return "missing"
}

// builtIn says that nothing stands at a path of our own long list.
func (w Watch) builtIn() bool {
	return w.state() == "missing" && !strings.HasPrefix(w.Why, "--") && !strings.Contains(w.Why, "fs.protect[")
}

// word quotes what a shell or a reader would not take for one plain word.
func word(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune("\"'`$#\\", r)
	})
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// printable escapes what would move a terminal's cursor; file names of a project are the agent's words.
func printable(s string) string {
	quoted := strconv.Quote(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}
