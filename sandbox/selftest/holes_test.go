package selftest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agentjail/agentjail/profiles"
	"github.com/agentjail/agentjail/sandbox"
)

// holeVariable names the hole that the launcher makes in its plan.
const holeVariable = "AGENTJAIL_TEST_HOLE"

// launcher is `agentjail run`, as far as a test needs it, with a hole.
func launcher() int {
	host, err := sandbox.Probe(context.Background())
	if err != nil {
		return fail(err)
	}
	var names []string
	var request sandbox.Request
	for i := 3; i < len(os.Args); i += 2 { // agentjail run --quiet …
		switch os.Args[i] {
		case "--profile":
			names = append(names, os.Args[i+1])
		case "--project":
			request.Project = os.Args[i+1]
		case "--tty":
			request.TTY = os.Args[i+1]
		case "--":
			request.Argv, i = os.Args[i+1:], len(os.Args)
		}
	}
	profile, err := profiles.NewLibrary(host.ConfigDir).Load(names, Name)
	if err != nil {
		return fail(err)
	}
	plan, err := sandbox.NewPlan(profile, request, host)
	if err != nil {
		return fail(err)
	}
	if h, ok := holes[os.Getenv(holeVariable)]; ok && request.Argv[1] == roleAttack {
		h.open(plan)
	}
	report, err := sandbox.Run(context.Background(), plan, host, sandbox.Options{Stdio: sandbox.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}})
	if err != nil {
		return fail(err)
	}
	return report.ExitCode
}

func fail(err error) int {
	fmt.Fprintln(os.Stderr, "agentjail: error:", err)
	return 125
}

// wrapped runs the attack's command as root of a user namespace, in no jail.
func wrapped() int {
	cmd := exec.Command(os.Args[1], roleNamespace, os.Args[3])
	cmd.Args[0] = os.Args[1]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = ruler()
	if err := cmd.Run(); err != nil {
		return fail(err)
	}
	return 0
}

// hole is a wall that is taken away, and the attempts that must get through then and no other.
type hole struct {
	open func(*sandbox.Plan)
	want []string
}

var holes = map[string]hole{
	"files": {
		open: func(p *sandbox.Plan) {
			dir, home := strings.TrimSuffix(p.Project, "/attack/home/code/project"), p.Identity.Home
			p.Mounts = slices.DeleteFunc(p.Mounts, func(m sandbox.Mount) bool {
				return slices.Contains([]string{".envrc", ".env"}, filepath.Base(m.Target))
			})
			var j job
			if err := json.Unmarshal([]byte(p.Command.Argv[2]), &j); err != nil {
				panic(err)
			}
			own := filepath.Dir(j.Target.Credentials[0].Path)
			for _, shown := range []string{own, home + "/.ssh", home + "/code/beside", dir + "/state", dir + "/other/home/code/project", "/dev/shm"} {
				p.Mounts = append(p.Mounts, sandbox.Mount{Kind: sandbox.KindBind, Source: shown, Target: shown, IDMap: p.Identity.IDMap, Why: "a hole"})
			}
			p.Syscalls = append(p.Syscalls, sandbox.Setting{Value: "nested", Why: "a hole"})
		},
		want: []string{
			"home-ssh-key", "real-home-credentials", "link-planted", "link-made", "other-project-read", "other-project-write", "other-project-create", "parent-by-dots",
			"hidden-file", "hidden-file-renamed", "direnv-write", "own-trust-store", "host-dev-shm",
			"namespace-user", "clone-user", "clone-user-and-mounts",
			"records-list", "record-read", "record-change", "control-socket", "other-project",
		},
	},
	"door": {
		open: func(p *sandbox.Plan) {
			rules := p.Net.Policy.Allow
			var web string
			for i := range rules {
				switch rules[i].Host {
				case plainHost:
					web = rules[i].Connect
				case inspectHost:
					rules[i].Methods, rules[i].Paths, rules[i].TLS = nil, nil, "inspect"
				}
			}
			more := rules[0]
			for _, r := range []struct {
				host string
				port uint16
			}{{closedHost, 80}, {"*." + plainHost, 80}, {plainHost, 8080}} {
				more.Host, more.Ports, more.Connect, more.TLS = r.host, []uint16{r.port}, web, ""
				rules = append(rules, more)
			}
			p.Net.Policy.Allow = rules
		},
		want: []string{
			"host-not-allowed", "subdomain-not-allowed", "port-not-allowed", "proxy-not-allowed",
			"method-not-allowed", "method-override", "path-not-allowed", "path-encoded", "path-override",
			"other-fake-address", // both sessions may reach the host now, and each door gives it its first address
		},
	},
	"secrets": {
		open: func(p *sandbox.Plan) {
			p.Secrets = nil
			for i, v := range p.Command.Env {
				if v.Name == keyVariable {
					p.Command.Env[i] = sandbox.Var{Name: v.Name, Value: os.Getenv(keyVariable), Why: "a hole"}
				}
			}
		},
		want: []string{"environment", "own-credential", "placeholder-to-another", "secret-echoed", "other-placeholder"},
	},
}
