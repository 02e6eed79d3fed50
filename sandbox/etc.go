package sandbox

import (
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// etcFile is one entry of /etc. name is a pattern of path.Match. A screened one is shown only when it holds no credential.
type etcFile struct {
	name, why string
	screened  bool
}

// etcFiles are what a jail sees of the host's /etc: never the directory, because shadow, ssh host keys, machine ids and the
// passwords of a hundred programs lie there, and where the host uid is 0 nothing but this list keeps them from being read.
// passwd, group, hosts, hostname, resolv.conf and nsswitch.conf are made, not shown.
var etcFiles = []etcFile{
	{"alternatives", "where update-alternatives' links lead", false},
	{"alpine-release", "which distribution", false}, {"arch-release", "which distribution", false}, {"debian_version", "which distribution", false},
	{"fedora-release", "which distribution", false}, {"lsb-release", "which distribution", false}, {"os-release", "which distribution", false},
	{"redhat-release", "which distribution", false}, {"system-release", "which distribution", false}, {"NIXOS", "which distribution", false},
	{"bash.bashrc", "shells", false}, {"bashrc", "shells", false}, {"profile", "shells", false}, {"profile.d", "shells", false}, {"inputrc", "shells", false},
	{"shells", "shells", false}, {"zsh", "shells", false}, {"zshrc", "shells", false}, {"zshenv", "shells", false}, {"zprofile", "shells", false}, {"fish", "shells", false},
	{"DIR_COLORS", "ls", false}, {"terminfo", "terminals", false}, {"vim", "editors", false}, {"vimrc", "editors", false}, {"nanorc", "editors", false},
	{"crypto-policies", "OpenSSL and GnuTLS on Fedora include it", false}, {"gnutls", "GnuTLS' defaults", false},
	{"fonts", "fontconfig", false},
	{"gai.conf", "getaddrinfo(3)", false}, {"host.conf", "resolver(3)", false}, {"networks", "getnetent(3)", false}, {"protocols", "getprotoent(3)", false},
	{"rpc", "getrpcent(3)", false}, {"services", "getservent(3)", false},
	{"java*", "the JDK's own configuration", false}, {".java", "the JDK's own configuration", false},
	{"ld.so.cache", "the dynamic loader", false}, {"ld.so.conf", "the dynamic loader", false}, {"ld.so.conf.d", "the dynamic loader", false},
	{"ld-musl-*.path", "the dynamic loader", false},
	{"localtime", "time zone", false}, {"timezone", "time zone", false}, {"locale.alias", "locales", false}, {"locale.conf", "locales", false},
	{"magic", "file(1)", false}, {"mailcap", "file types", false}, {"mime.types", "file types", false},
	{"maven/m2.conf", "Maven's own start-up file", false}, {"maven/logging", "Maven's own start-up file", false},
	{"maven/settings.xml", "Maven's settings", true},
	{"mtab", "a link to the jail's own mounts", false},
	{"perl", "the interpreter's own configuration", false}, {"python3*", "the interpreter's own configuration", false},
	{"gitconfig", "git's system settings", true}, {"npmrc", "npm's settings", true},
	{"pip.conf", "pip's settings", true},
	{"ssl/openssl.cnf", "OpenSSL's configuration", false}, {"ssl/certs", "public certificates", false}, {"ssl/cert.pem", "public certificates", false},
	{"ssl/ca-bundle.pem", "public certificates", false}, {"ca-certificates/extracted", "public certificates (Arch)", false},
	{"pki/ca-trust/extracted", "public certificates (Fedora)", false}, {"pki/tls/certs", "public certificates (Fedora)", false},
	{"pki/tls/cert.pem", "public certificates (Fedora)", false}, {"pki/tls/openssl.cnf", "OpenSSL's configuration", false},
	{"pki/tls/openssl.d", "OpenSSL's configuration", false}, {"pki/java", "public certificates (Fedora)", false},
	{"static", "where the links of NixOS' /etc lead", false},
}

// etcCredentials are in settings that hold or fetch a credential, in lower case: such a file stays outside, as a whole.
var etcCredentials = []string{"@", "auth", "passw", "token", "secret", "helper", "extraheader", "key"}

// etcTree adds the curated /etc.
func (w *planner) etcTree(net string) error {
	entries, err := w.files.ReadDir("/etc", 4096)
	if err != nil && !missing(err) {
		return planError("", "read /etc: %w", err)
	}
	w.tree.add(Mount{Kind: KindDir, Target: "/etc", Mode: 0o755, Why: "a curated list, never the host's directory"})
	w.tree.add(etcMade(w, net)...)
	for _, e := range etcFiles {
		first, rest, _ := strings.Cut(e.name, "/")
		for _, name := range namesLike(entries, first) {
			if err := w.etcEntry(path.Join("/etc", name, rest), e); err != nil {
				return err
			}
		}
	}
	return nil
}

// namesLike gives the entries that a pattern matches. Most patterns are plain names, and entries are sorted.
func namesLike(entries []fs.DirEntry, pattern string) []string {
	var names []string
	if !strings.Contains(pattern, "*") {
		_, found := slices.BinarySearchFunc(entries, pattern, func(e fs.DirEntry, name string) int { return strings.Compare(e.Name(), name) })
		if found {
			names = append(names, pattern)
		}
		return names
	}
	for _, e := range entries {
		if matches(pattern, e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// etcEntry shows one entry: a link into what the jail sees stays a link, anything else is bound where its name is.
func (w *planner) etcEntry(name string, e etcFile) error {
	p, err := follow(w.files, name)
	if missing(err) || err == nil && !p.info.IsDir() && !p.info.Mode().IsRegular() {
		return nil
	}
	if err != nil {
		return planError("", "%s: %w", name, err)
	}
	if e.screened && !w.harmless(p) {
		w.note("%s may hold a credential and stays outside", name)
		return nil
	}
	last := len(p.links) - 1
	if last < 0 || path.Dir(p.links[0].path) != path.Dir(name) { // no link, or one in its parents: the name itself is what to bind
		w.tree.add(Mount{Kind: KindBind, Source: p.path, Target: p.path, ReadOnly: true, NoExec: !p.info.IsDir(), Why: e.why})
		w.tree.links = append(w.tree.links, p.links...)
		return nil
	}
	if w.tree.shows(p.path) || within(p.path, "/proc") || w.listed(p.path) {
		w.tree.links = append(w.tree.links, p.links...)
		return nil
	}
	w.tree.add(Mount{Kind: KindBind, Source: p.path, Target: name, ReadOnly: true, NoExec: !p.info.IsDir(), Why: e.why})
	return nil
}

// listed says whether a path is or lies in an entry of the list, so that a link to it will lead somewhere.
func (w *planner) listed(name string) bool {
	for _, e := range etcFiles {
		if !e.screened && within(name, path.Join("/etc", e.name)) {
			return true
		}
	}
	return false
}

// harmless says whether a file of settings is free of credentials.
func (w *planner) harmless(p place) bool {
	if !p.info.Mode().IsRegular() {
		return false
	}
	const most = 64 << 10
	data, err := w.files.ReadFile(p.path, most)
	data = bytes.ToLower(data)
	return err == nil && len(data) < most && !slices.ContainsFunc(etcCredentials, func(s string) bool { return bytes.Contains(data, []byte(s)) })
}

// etcMade are the files that say who and where the command is.
func etcMade(w *planner, net string) []Mount {
	id := w.plan.Identity
	group := id.User
	if name, ok := groupName(w.files, id.GID); ok {
		group = name
	}
	file := func(name, why, format string, args ...any) Mount {
		return Mount{Kind: KindFile, Target: "/etc/" + name, Mode: 0o644, Data: fmt.Appendf(nil, format, args...), Why: why}
	}
	passwd, groups := "", ""
	if id.User != "root" {
		passwd, groups = "root:x:0:0:root:/root:/usr/sbin/nologin\n", "root:x:0:\n"
	}
	field := strings.NewReplacer(":", "_", "\n", "_")
	passwd += fmt.Sprintf("%s:x:%d:%d::%s:%s\n", id.User, id.UID, id.GID, field.Replace(id.Home), w.shell())
	groups += fmt.Sprintf("%s:x:%d:\n", group, id.GID)
	const nobody = 65534 // what the kernel shows for every id that has no mapping: overflowuid, user_namespaces(7)
	if id.UID != nobody {
		passwd += "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
	}
	if id.GID != nobody && group != "nogroup" {
		groups += "nogroup:x:65534:\n"
	}
	made := []Mount{
		file("passwd", "names the caller", "%s", passwd),
		file("group", "names the caller's group", "%s", groups),
		file("hostname", "the jail's own name", "%s\n", hostname),
		// localhost is IPv4's alone: in a network without global IPv6 a client that asks with AI_ADDRCONFIG is told 127.0.0.1, and a
		// server that asks without it would listen on ::1 (node's fetch and listen, getaddrinfo(3)).
		file("hosts", "the jail's own localhost", "127.0.0.1 localhost %s\n::1 ip6-localhost ip6-loopback\n", hostname),
		file("nsswitch.conf", "files and the door's DNS, no daemon of the host",
			"passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\nnetworks: files\nethers: files\nrpc: files\n"),
	}
	if net == "none" {
		return append(made, file("resolv.conf", "no network: no name is asked for", "# no network\n"))
	}
	return append(made, file("resolv.conf", "the door's DNS", "nameserver %s\noptions timeout:2 attempts:2\n", doorAddress))
}
