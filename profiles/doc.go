// Package profiles answers one question: what was wished?
//
// A wish is a word and the place where it was made ([Item]): "api.example.com" in net.allow[0] of claude.toml. A [Profile] is a
// set of them, merged from files and flags. It is pure: nothing in it has been looked up on the machine, and sandbox.NewPlan
// turns it into what will be done.
//
//	refs, command ─► Library.Load ─► base ─┐
//	.agentjail.toml ─► LoadProject ─► Widens(base, project), Trust.Has ─► Merge ─► Merge(…, flags) ─► Asker.Expand ─► NewPlan
//
// # Files
//
// A profile is a TOML file; [Parse] reads one. It is read as it is written: an unknown key, a key in another case, a value of the
// wrong kind and a value that nobody could grant are errors that show the file, the line, the column and the line itself, and
// then there is no profile and nothing runs. The keys, and what a value may look like:
//
//	description = "one line"
//	match   = ["claude"]               base names of the commands that choose this profile
//	extends = ["default"]              names; a profile that extends its own name means the one that it hides
//
//	[fs]
//	read  = ["/opt/x"]                 paths of the host: absolute, under ~, or relative to the project
//	write = ["~/.cache/x"]
//	copy  = ["~/.config/x"]            copied into the private home at start, never back
//	hide  = [".env", "*.pem"]          patterns (path.Match) in the project
//	protect = ["deploy"]  unprotect = [".vscode"]   paths in the project
//	home = "ephemeral"                 or "persistent"
//
//	[net]
//	mode = "door"                      or "none"
//	allow = ["api.example.com", "*.example.org:443", "@npm"]   without a port: 80 and 443; empty: nothing is allowed
//	deny = ["gist.example.com"]        wins over every allow
//	denied = "explain"                 or "nxdomain"
//	proxy_env = false
//
//	[[net.rule]]                       allows its host, and says how it is reached
//	host = "db.example.com"  ports = [5432]  private = true  connect = "127.0.0.1:9443"  upstream_ca = "~/ca.pem"
//	tls = "inspect"                    or "tunnel"; each key below needs inspection
//	methods = ["GET"]  paths = ["/v1/models/*"]  max_request = "4MiB"  max_upload = "200MiB"
//	git = "push"  push_refs = ["agent/*"]          or "fetch", "none"
//	api = "anthropic"  server_tools = ["web_search"]   or "openai", "gemini", "github"; what the provider may run on its side
//
//	[[secret]]                         the jail has a placeholder in env, in a copy of file, or in both
//	name = "anthropic"  env = "ANTHROPIC_API_KEY"  file = "~/.x/auth.json"  pointer = "/tokens/access"
//	from = "env:NAME"                  or "file:PATH" (with pointer), "cmd:ARGV…", "keyring:SERVICE/USER"; default: file, else env
//	hosts = ["api.example.com"]        who gets the value; [] is nobody
//	header = "x-api-key"               default "Authorization: Bearer"; or "query:NAME"
//	pin = true                         default: any other credential on these hosts is refused
//	ttl = "8h"  cache = "5m"           how long the session may use it; how long a command's answer is good
//
//	[limits]
//	memory = "8GiB"  pids = 4096  cpus = 2.0  files = 65536  wall = "8h"
//
//	[syscalls]
//	groups = ["debug"]
//
//	[env]
//	pass = ["TERM", "LC_*"]  set = { CI = "1" }
//
// A secret of a profile is on when its value is there: the variable is set, the file exists. [WithSecrets] (--secret) makes its
// absence an error, and also switches on what the user's secrets.toml defines.
//
// # Where they are
//
// [Library] looks a name up in $XDG_CONFIG_HOME/agentjail/profiles, /etc/agentjail/profiles and the built-in ones, which are
// files too (builtin/*.toml, read when asked for). The agents' profiles allow what the agent itself needs, each host with its
// source, and no package registry. Those of claude, codex and gemini keep the agent's key and login outside; the others pass the
// key in, and the jail sees it. [Merge] joins lists and lets the later of two single values stand.
//
// # The project's own file
//
// .agentjail.toml is written by the agent. [LoadProject] reads it, [Widens] lists what it would allow beyond the user's profile,
// and [Trust] knows whether the user has agreed to exactly these bytes in exactly this place. What only narrows (deny, hide,
// protect, lower limits, mode "none") needs nobody's agreement. A secret it never defines, trusted or not.
//
// # Bundles
//
// @npm, @go, @pip, @cargo and @apt are replaced by the hosts of the registries that the host's own tools are configured for
// ([Asker]), so mirrors work and no registry's name stands in the program, and are read alone (GET, HEAD). @github is a fixed list
// with clone and fetch, archives, downloads and the API's questions in it.
//
// # What this package does not do
//
//   - It does not judge: a path may not exist, a host may be a public suffix, a system call group may be unknown. The plan and
//     the door's policy say so.
//   - It does not keep an agent from using what its profile allows. A tunnel to an API host carries any account's requests.
//   - A bundle knows where an index is, not where each of its files is. A mirror with a second host for its files needs --allow.
//   - Credentials of a registry (.npmrc, netrc, pip.conf) are not passed in; fs.copy does that, and then the jail has them.
package profiles
