package seccomp

import (
	"fmt"
	"strings"
)

// A Group is a set of system calls that a profile can ask for on top of the base policy.
type Group struct {
	Name string `json:"name"`
	Doc  string `json:"doc"` // one line
	// UserNamespaces says that the group is worth nothing while user.max_user_namespaces forbids the command a user namespace
	// of its own: whoever plans a jail with the group has to raise that limit too.
	UserNamespaces bool `json:"user_namespaces,omitempty"`

	// rules allow, or refuse what what they allow has made dangerous. No group allows a call that another one refuses.
	rules []rule
}

// Groups are all the groups, in a stable order.
func Groups() []Group {
	return []Group{
		{
			Name: "debug",
			Doc:  "debuggers and tracers (gdb, strace, delve, py-spy) on the jail's own processes",
			rules: []rule{
				// PID 1 lives in another user namespace, and the kernel asks for a capability in it: it stays out of reach.
				{why: "tracing", names: []string{"ptrace"}, clauses: always(allow)},
				{why: "strace and delve read and write memory with them", clauses: always(allow), names: []string{
					"process_vm_readv", "process_vm_writev",
				}},
			},
		},
		{
			Name: "nested",
			Doc:  "namespaces for programs with a sandbox of their own (Chromium); no mounts, no extended attributes; widens the kernel's attack surface a lot",
			// A process is root in the user namespace that it makes, so code of the kernel that was only ever meant for root can
			// be reached: this group is for a browser that insists, and `--no-sandbox` in a jail is the better answer. The mount
			// calls stay refused, and netlink stays NETLINK_ROUTE: no netfilter in a network namespace of its own.
			UserNamespaces: true,
			rules: []rule{
				{why: "new namespaces", names: []string{"clone", "unshare"}, clauses: always(allow)},
				// Chromium's zygote gives up the file system by chroot(2) into an empty directory.
				{why: "an empty root", names: []string{"chroot"}, clauses: always(allow)},
				// Root of a user namespace may write security.capability (capabilities(7), "Namespaced file capabilities"). The file
				// counts where that root's host uid is root: where it is 0, by itself or on disk, through the idmapped mount of a
				// project of root's, that is the host, and whoever runs the file there has the capabilities. The name of the attribute
				// is behind a pointer, so all of them go; the answer is that of a file system without any, which cp and tar take well.
				{why: "capabilities of files, and with them all attributes", clauses: always(eopnotsupp), names: []string{
					"fsetxattr", "lsetxattr", "setxattr", "setxattrat",
				}},
			},
		},
	}
}

// findGroup is the group called name; the error names those that exist.
func findGroup(name string) (Group, error) {
	var known []string
	for _, g := range Groups() {
		if g.Name == name {
			return g, nil
		}
		known = append(known, g.Name)
	}
	return Group{}, fmt.Errorf("system call group %q is not known; there are %s", name, strings.Join(known, ", "))
}
