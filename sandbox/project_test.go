package sandbox

import (
	"testing"

	"github.com/agentjail/agentjail/profiles"
)

func TestProjectIs(t *testing.T) {
	const tree = `
/home/u/plain/sub/ uid=1000
/home/u/wt/sub/deep/ uid=1000
/home/u/wt/.git = "gitdir: /nowhere"
/home/u/link -> plain/sub
/srv/shared/.git/HEAD
/srv/shared/.git/objects/
/srv/shared/.git/refs/
/srv/shared/mine/ uid=1000
/tmp/.git/HEAD
/tmp/.git/objects/
/tmp/.git/refs/
/tmp/x/ uid=1000
/closed/ 0711
/closed/p/ uid=1000
`
	for _, tt := range []struct{ name, dir, asked, want string }{
		{"the current directory", "/home/u/plain/sub", "", "/home/u/plain/sub"},
		{"a repository that holds it", "/home/u/p", "", "/home/u/p"},
		{"from inside .git's work tree", "/home/u/p/.git/hooks", "", "/home/u/p"},
		{"a linked work tree", "/home/u/wt/sub/deep", "", "/home/u/wt"},
		{"not a repository of another user's", "/srv/shared/mine", "", "/srv/shared/mine"},
		{"not a repository that is /tmp", "/tmp/x", "", "/tmp/x"},
		{"asked", "/home/u/p", "/home/u/plain", "/home/u/plain"},
		{"asked, relative", "/home/u/plain", "sub", "/home/u/plain/sub"},
		{"asked, in the home", "/", "~/plain", "/home/u/plain"},
		{"asked, through a link", "/", "/home/u/link", "/home/u/plain/sub"},
		{"below a directory that can only be passed", "/closed/p", "", "/closed/p"},
		{"asked by name, credentials", "/", "/home/u/.ssh", "/home/u/.ssh"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := user(t, tt.dir, repoAt("/home/u/p")+tree)
			if got := plan(t, h, &profiles.Profile{}, Request{Project: tt.asked}).Project; got != tt.want {
				t.Errorf("the project is %s, want %s", got, tt.want)
			}
			if got, err := FindProject(h, tt.asked); got != tt.want || err != nil {
				t.Errorf("FindProject gives %s, %v; NewPlan gives %s", got, err, tt.want)
			}
		})
	}
}

func TestProjectIsRefused(t *testing.T) {
	const tree = `
/home/u/tohome -> ../u
/home/u/.git/HEAD uid=1000
/home/u/.git/objects/
/home/u/.git/refs/
/home/u/.config/agentjail/profiles/
/home/u/.local/state/agentjail/sessions/1/
/home/ci/
/run/user/1000/
/sys/kernel/
`
	for _, tt := range []struct{ dir, asked, say string }{
		{"/", "", "your home or holds it"},
		{"/home/u", "", "your home or holds it"},
		{"/home/u", ".", "your home or holds it"},
		{"/home/u", "tohome", "your home or holds it"},
		{"/home", "", "your home or holds it"},
		{"/usr", "", "of the system"},
		{"/usr/bin", "", "of the system"},
		{"/tmp", "", "of the system"},
		{"/etc/ssl", "", "of the system"},
		{"/proc/self", "", "of the system"},
		{"/sys/kernel", "", "of the system"},
		{"/run/user/1000", "", "sockets"},
		{"/home/u/.ssh", "", "credentials"},
		{"/home/u/.config", "", "agentjail keeps its own files"},
		{"/home/u/.local/state/agentjail/sessions/1", "", "agentjail keeps its own files"},
		{"/", "/home/u/none", "no such file"},
		{"/", "/home/u/.gitconfig", "not a directory"},
	} {
		t.Run(tt.dir+" "+tt.asked, func(t *testing.T) {
			_, err := NewPlan(&profiles.Profile{}, Request{Argv: []string{"sh"}, Project: tt.asked}, user(t, tt.dir, tree))
			wantRefusal(t, err, tt.say)
			if e, ok := err.(*Error); ok && e.Hint == "" {
				t.Error("no hint")
			}
		})
	}
}

// TestHomeRepositoryIsPassedOver keeps a person who has the dotfiles in git from having the whole home as the project.
func TestHomeRepositoryIsPassedOver(t *testing.T) {
	h := user(t, "/home/u/notes", "/home/u/.git/HEAD uid=1000\n/home/u/.git/objects/\n/home/u/.git/refs/\n/home/u/notes/\n")
	if got := plan(t, h, &profiles.Profile{}, Request{}).Project; got != "/home/u/notes" {
		t.Errorf("the project is %s", got)
	}
}
