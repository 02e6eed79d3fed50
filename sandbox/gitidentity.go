package sandbox

import (
	"path"
	"slices"
	"strings"

	"github.com/agentjail/agentjail/netns/egress"
)

// gitSystemConfig stands in the jail for git's system settings (GIT_CONFIG_SYSTEM, git(1), from git 2.32).
const gitSystemConfig = storeDir + "/gitconfig"

// maxGitConfig bounds what is read of the caller's settings. Bytes.
const maxGitConfig = 1 << 20

// gitIdentity tells git in the jail who commits, and which of the addresses that it is given lead through the door. The
// caller's ~/.gitconfig stays outside, for it may hold tokens and names programs; of its many settings the name and the address pass.
// They are system settings inside, so a repository's own win, as they do outside.
func (w *planner) gitIdentity(e *environment) {
	config := w.host.getenv("XDG_CONFIG_HOME")
	if config == "" {
		config = path.Join(w.host.Home, ".config")
	}
	found := make(map[string]string)
	for _, name := range []string{path.Join(config, "git/config"), path.Join(w.host.Home, ".gitconfig")} { // the later one wins
		data, _ := w.files.ReadFile(name, maxGitConfig) // none is usual
		for _, s := range gitConfig(data) {
			if s.section == "user" && (s.key == "name" || s.key == "email") && validIdentity(s.value) {
				found[s.key] = s.value
			}
		}
	}
	text, why := "", ""
	for _, key := range []string{"name", "email"} {
		if value, ok := found[key]; ok {
			text += "\t" + key + ` = "` + value + "\"\n"
		}
	}
	if text != "" {
		text, why = "[user]\n"+text, "the name and address for commits"
	}
	if hosts := w.gitOverHTTPS(); len(hosts) > 0 {
		for _, host := range hosts {
			text += "[url \"https://" + host + "/\"]\n\tinsteadOf = git@" + host + ":\n\tinsteadOf = ssh://git@" + host + "/\n"
		}
		why = strings.TrimPrefix(why+", https in place of ssh for "+strings.Join(hosts, ", "), ", ")
	}
	if text == "" {
		return
	}
	text = "[include]\n\tpath = /etc/gitconfig\n" + text
	w.tree.add(Mount{Kind: KindFile, Target: gitSystemConfig, Data: []byte(text), Mode: 0o444, Why: why + ", and nothing else of ~/.gitconfig"})
	e.set("GIT_CONFIG_SYSTEM", gitSystemConfig, why)
}

// gitOverHTTPS gives the hosts whose repositories the door judges over HTTPS and that are not reached over ssh: there the same
// repository's ssh URL, which is what people clone with, is taken for the other one.
func (w *planner) gitOverHTTPS() (hosts []string) {
	allow := w.plan.Net.Policy.Allow
	for _, r := range allow {
		if r.Git != "fetch" && r.Git != "push" || strings.HasPrefix(r.Host, "*") || !slices.Contains(r.Ports, 443) || slices.Contains(hosts, r.Host) {
			continue
		}
		if !slices.ContainsFunc(allow, func(other egress.Rule) bool { return overlap(other.Host, r.Host) && slices.Contains(other.Ports, 22) }) {
			hosts = append(hosts, r.Host)
		}
	}
	return hosts
}

// gitShared has git leave the modes of a shared repository alone. With core.sharedRepository it gives each directory the set-group-id bit
// and group's rights by chmod(2), also one that has both, and the filter refuses the bit because it cannot tell a directory from a file: no
// commit could be made. The kernel hands the bit and the group down by itself; the group's rights come from the umask.
func (w *planner) gitShared(e *environment) {
	if _, theirs := e.vars["GIT_CONFIG_COUNT"]; !w.shared || theirs {
		return
	}
	const why = "the filter refuses git's modes for a shared repository; the umask counts"
	e.set("GIT_CONFIG_COUNT", "1", why)
	e.set("GIT_CONFIG_KEY_0", "core.sharedRepository", why)
	e.set("GIT_CONFIG_VALUE_0", "umask", why)
}

// validIdentity says whether a name or address needs no escaping in git's syntax; one that does is left out.
func validIdentity(s string) bool {
	return s != "" && len(s) < 256 && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == 0x7f })
}
