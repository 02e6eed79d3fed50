package sandbox

import (
	"slices"
	"strings"
	"testing"

	"github.com/agentjail/agentjail/profiles"
)

func TestFindCommand(t *testing.T) {
	const tree = `
/home/u/p/run.sh 0755 = "#!/bin/sh\n"
/home/u/p/data
/home/u/p/.venv/pyvenv.cfg
/home/u/p/.venv/bin/python -> /usr/bin/python3
/home/u/p/bad 0755 = "#!/none/perl\n"
/home/u/p/a 0755 = "#! /usr/bin/env  -S A=1 ./b -x\n"
/home/u/p/b 0755 = "#!./a\n"
/usr/local/bin/tool
/usr/bin/tool 0755
/home/u/p/evil 0755
`
	for _, tt := range []struct{ argv, path, problem string }{
		{"git", "/usr/bin/git", ""},
		{"./run.sh", "/home/u/p/run.sh", ""},
		{"/home/u/p/run.sh", "/home/u/p/run.sh", ""},
		{".venv/bin/python", "/home/u/p/.venv/bin/python", ""}, // by this name Python finds its environment
		{"tool", "/usr/bin/tool", ""},                          // the one before it on PATH cannot be executed
		{"evil", "", ProblemNotFound},                          // PATH has "" and ".", which are the project
		{"none", "", ProblemNotFound},
		{"./none", "", ProblemNotFound},
		{"", "", ProblemNotFound},
		{"./data", "", ProblemNotExecutable},
		{"/usr/bin", "", ProblemNotExecutable},
		{"./data/x", "", ProblemNotFound},
		{"./bad", "", ProblemNotFound},
		{"./a", "", ProblemNotFound}, // scripts that interpret each other
	} {
		t.Run(tt.argv, func(t *testing.T) {
			h := user(t, "/home/u/p", repoAt("/home/u/p")+tree)
			h.Env = append(h.Env, "PATH=:.:/usr/local/bin:/usr/bin")
			got := plan(t, h, &profiles.Profile{}, Request{Argv: []string{tt.argv, "x"}})
			if got.Command.Path != tt.path || got.Command.Problem != tt.problem || got.Command.Dir != "/home/u/p" {
				t.Errorf("path %q, problem %q", got.Command.Path, got.Command.Problem)
			}
		})
	}
}

// TestToolchains plants one installation each and holds what is bound for it: these targets, and nothing else of the home.
func TestToolchains(t *testing.T) {
	for _, tt := range []struct {
		name, tree, path, argv string
		binds                  []string
	}{
		{"npm's global prefix", "/home/u/.npm-global/bin/c -> ../lib/node_modules/c/cli.js\n/home/u/.npm-global/lib/node_modules/c/cli.js 0755\n",
			"~/.npm-global/bin", "c", []string{"~/.npm-global"}},
		{"a prefix that is ~/.local", "/home/u/.local/bin/c -> ../lib/node_modules/@x/c/cli.js\n/home/u/.local/lib/node_modules/@x/c/cli.js 0755\n",
			"~/.local/bin", "c", []string{"~/.local/lib/node_modules"}},
		{"a file of ~/bin", "/home/u/bin/c 0755\n/home/u/bin/other 0755\n/home/u/lib/\n", "~/bin", "c", []string{"~/bin/c"}},
		{"a file of ~/.local/bin", "/home/u/.local/bin/c 0755\n/home/u/.local/lib/x\n/home/u/.local/share/x\n", "~/.local/bin", "c", []string{"~/.local/bin/c"}},
		{"go install", "/home/u/go/bin/c 0755\n/home/u/go/pkg/mod/x\n", "~/go/bin", "c", []string{"~/go/bin"}},
		{"a prefix of its own", "/home/u/tools/x/bin/c 0755\n/home/u/tools/x/lib/a.so\n", "~/tools/x/bin", "c", []string{"~/tools/x"}},
		{"a virtual environment", "/home/u/envs/e/pyvenv.cfg\n/home/u/envs/e/bin/c 0755\n", "~/envs/e/bin", "c", []string{"~/envs/e"}},
		{"beside credentials", "/home/u/.ssh/bin/c 0755\n/home/u/.ssh/lib/x\n", "~/.ssh/bin", "c", []string{"~/.ssh/bin/c"}},
		{"in the home itself", "/home/u/c 0755\n/home/u/package.json\n", "~", "c", []string{"~/c"}},
		{"a bin that makes the home a prefix", "/home/u/sbin/c 0755\n/home/u/lib/x\n/home/u/share/x\n", "~/sbin", "c", []string{"~/sbin/c"}},
		{"Claude Code's local install", "/home/u/.claude/local/claude 0755 = \"#!/bin/sh\\n\"\n/home/u/.claude/.credentials.json\n", "~/.claude/local", "claude",
			[]string{"~/.claude/local"}},
		{"Claude Code's versions", "/home/u/.local/bin/claude -> ../share/claude/versions/1.0\n/home/u/.local/share/claude/versions/1.0 0755\n", "~/.local/bin", "claude",
			[]string{"~/.local/share/claude/versions"}},
		{"on PATH for the agent", "/home/u/.nvm/versions/node/v1/bin/node 0755\n/home/u/.nvm/alias/x\n", "~/.nvm/versions/node/v1/bin", "sh",
			[]string{"~/.nvm/versions/node/v1"}},
		{"~/.local/bin on PATH for the agent", "/home/u/.local/bin/x 0755\n", "~/.local/bin", "sh", nil},
		{"a shim of volta's", "/home/u/.volta/bin/node -> volta-shim\n/home/u/.volta/bin/volta-shim 0755\n/home/u/.volta/tools/image/node/1/bin/node 0755\n",
			"~/.volta/bin", "node", []string{"~/.volta"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := user(t, "/home/u/p", repoAt("/home/u/p")+tt.tree)
			h.Env = append(h.Env, "PATH="+strings.Replace(tt.path, "~", "/home/u", 1)+":/usr/bin")
			got := plan(t, h, &profiles.Profile{}, Request{Argv: []string{tt.argv}})
			var binds []string
			for _, m := range got.Mounts {
				if m.Kind == KindBind && within(m.Target, "/home/u") && !within(m.Target, "/home/u/p") {
					if !m.ReadOnly {
						t.Errorf("%s is writable", m.Target)
					}
					binds = append(binds, strings.Replace(m.Target, "/home/u", "~", 1))
				}
			}
			if !slices.Equal(binds, tt.binds) {
				t.Errorf("bound %q, want %q", binds, tt.binds)
			}
			if got.Command.Problem != "" || got.Command.Path == "" {
				t.Errorf("the command is %+v", got.Command)
			}
			visible := tree{mounts: got.Mounts}
			if p, err := follow(h.FS, got.Command.Path); err != nil || !visible.shows(p.path) {
				t.Errorf("%s does not lead to a file in the jail", got.Command.Path)
			}
		})
	}
}

// TestToolInAnotherHome binds a tool of another user's as its file alone.
func TestToolInAnotherHome(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+"/home/ci/bin/c 0755\n/home/ci/lib/x\n/tmp/t/c 0755\n/tmp/t/package.json\n")
	got := plan(t, h, &profiles.Profile{}, Request{Argv: []string{"/home/ci/bin/c"}})
	wantBinds(t, got, map[string]string{"/home/ci": "--", "/home/ci/bin": "--", "/home/ci/bin/c": "ro"})
}

func TestWorkingDirectory(t *testing.T) {
	h := user(t, "/home/u/p/sub", repoAt("/home/u/p")+"/home/u/p/sub/\n")
	if got := plan(t, h, &profiles.Profile{}, Request{}).Command.Dir; got != "/home/u/p/sub" {
		t.Errorf("in the project: %s", got)
	}
	h.Dir = "/usr/bin"
	if got := plan(t, h, &profiles.Profile{}, Request{Project: "/home/u/p"}).Command.Dir; got != "/home/u/p" {
		t.Errorf("outside the project: %s", got)
	}
}
