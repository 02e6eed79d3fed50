package main

// flags is what run and plan were told.
type flags struct {
	profiles []string
	files    fileFlags
	net      netFlags
	env      []string
	secrets  []string
	limits   []string
	degraded []string
	tty      string
	name     string
	out      outFlags

	given []string // names of the flags of run that were given, in order
}

type fileFlags struct {
	project                          string
	ro, rw, hide, protect, unprotect []string
	home                             string
}

type netFlags struct {
	mode        string
	allow, deny []string
}

// outFlags are about what we tell.
type outFlags struct {
	report       string
	quiet, debug bool
	json, follow bool // of the subcommands that answer
	format       string
}

// group is flags that stand under one title in the help.
type group struct {
	title   string
	options []*option
}

// groups are the flags of run and plan, in the order of the help. They are made anew for the root and for each subcommand and all
// write into the same f: `agentjail --allow a run --allow b ls` means both.
func (f *flags) groups() []group {
	groups := []group{
		{"What may be touched", []*option{
			{name: "profile", short: "p", value: "NAME|FILE", usage: "start from this profile (repeatable, merged in order)", set: many(&f.profiles)},
			{name: "project", value: "DIR", usage: "the directory to work in; default: the git work tree around the current one", set: one(&f.files.project)},
			{name: "ro", value: "PATH", usage: "show this path of the host, read-only (repeatable)", set: many(&f.files.ro)},
			{name: "rw", value: "PATH", usage: "show this path of the host, writable (repeatable)", set: many(&f.files.rw)},
			{name: "hide", value: "PATTERN", usage: "make files of the project unreadable (repeatable)", set: many(&f.files.hide)},
			{name: "protect", value: "PATH", usage: "make a path of the project unwritable (repeatable)", set: many(&f.files.protect)},
			{name: "unprotect", value: "PATH", usage: "lift a built-in protection of the project (repeatable)", set: many(&f.files.unprotect)},
			{name: "home", value: "KIND", usage: "the private home: ephemeral (default) or persistent", set: choice(&f.files.home, "ephemeral", "persistent")},
			{name: "env", value: "NAME[=VALUE]", usage: "pass a variable of yours, or set one (repeatable)", set: many(&f.env)},
			{name: "secret", value: "NAME", usage: "switch on a secret: a placeholder inside, the value outside (repeatable)", set: many(&f.secrets)},
		}},
		{"What may be reached", []*option{
			{name: "allow", value: "HOST[:PORT]", usage: "allow a host, *.HOST or @bundle; no port: 80 and 443 (repeatable)", set: many(&f.net.allow)},
			{name: "deny", value: "HOST[:PORT]", usage: "refuse a host that a profile allows; wins over --allow (repeatable)", set: many(&f.net.deny)},
			{name: "net", value: "MODE", usage: "door (default): allowed hosts alone; none: no network at all", set: choice(&f.net.mode, "door", "none")},
		}},
		{"How it runs", []*option{
			{name: "limit", value: "KEY=VALUE", usage: "bound memory=8GiB, pids=4096, cpus=2, files=65536 or wall=8h (repeatable)", set: many(&f.limits)},
			{name: "tty", value: "WHEN", usage: "give the command a terminal: auto (default), always or never", set: choice(&f.tty, "auto", "always", "never")},
			{name: "allow-degraded", value: "WALL", usage: "run even though this wall cannot stand here; limits is the one that may (repeatable)", set: many(&f.degraded)},
			{name: "name", value: "NAME", usage: "call the session NAME; log, report and revoke take it for the ID", set: sessionName(&f.name)},
		}},
		{"What is told", []*option{
			{name: "report", value: "FILE", usage: "write what happened to FILE, as JSON, also when it did not start", set: one(&f.out.report)},
			{name: "quiet", short: "q", usage: "print errors alone", set: onOff(&f.out.quiet)},
			{name: "debug", usage: "log each step to standard error", set: onOff(&f.out.debug)},
		}},
	}
	for _, g := range groups {
		for _, o := range g.options {
			set, name := o.set, o.name
			o.set = func(s string) error {
				f.given = append(f.given, name)
				return set(s)
			}
		}
	}
	return groups
}

// jsonFlag is --json, of every subcommand that answers on standard output.
func (f *flags) jsonFlag() *option {
	return &option{name: "json", usage: "answer in JSON", set: onOff(&f.out.json)}
}
