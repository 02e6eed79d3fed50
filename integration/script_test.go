package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// # What a script finds
//
// A script is testdata/AREA/PROMISE.txtar and runs as an ordinary user (those of testdata/root: as root). It starts in $WORK/project, an
// empty git work tree; HOME is $WORK/home and holds a key that nobody in a jail may ever read: $HOME/.ssh/id_ed25519, with the words
// "a private key". agentjail is on PATH. Servers on loopback, alive for the whole test:
//
//	$HTTP_ADDR  $HTTPS_ADDR  web: /hello, /echo (the request), /bytes?n=, /counter?n=, /sum (POST), /sse, /git/hello.git, /v1/messages, /files/, and what
//	                         hold_test.go has
//	$FILES                   the directory below /files/: a script makes one of its own in there
//	$ECHO_ADDR               sends back what it gets; half-closes when the peer does
//	$HTTPS_CA                the certificate authority of $HTTPS_ADDR
//
// $DOOR is a profile that extends default and points at them web.example and git.example (80, 443), echo.example (7), ssh.example (22,
// after `sshd`), slow.example (80) and api.anthropic.com (443). $TESTDATA is this directory's testdata.
//
// # Commands beside testscript's own
//
//	control CMD...         exec, outside of any jail: the proof that the attack next to it works where no wall stands
//	expand FILE...         replaces $NAME in the files by the environment
//	probe FILE             puts testdata/probe.c, compiled, at FILE
//	claude                 installs Claude Code for this script and puts it on PATH
//	sshd                   starts an OpenSSH server for this script, at $SSH_ADDR, key in $WORK/key
//	[!] asked HOST [WORD]  the web servers have (not) seen a request for HOST [whose path or body holds WORD]
//
// # Programs (they may stand behind control, exec or each other)
//
//	exits STATUS CMD...    runs CMD, which must end with that status, or by that signal (SIGKILL)
//	within DURATION CMD... runs CMD, which must end by then
//	leaky CMD...           runs CMD with descriptors 3 to 1000 open on a file with the words "left open"
//	traceless CMD...       runs CMD, which must leave $WORK (but for agentjail's own records), mounts and cgroups as they were
//	alone CMD...           runs CMD, which must leave no process behind, not even for a second
//	slay WHO CMD...        runs CMD until it says "ready", then sends SIGKILL to WHO: launcher, gateway, init; all must be gone in a second
//	moments STEP N WHO CMD...  runs CMD N times and sends SIGKILL to WHO (launcher, gateway, init), each time STEP later than before
//	fell WHO HOW N CMD...  runs CMD N times and kills WHO, each time at another of its steps: see chaos_test.go
//	scarce N CMD...        runs CMD where there are N namespaces of each kind to be had
//	terminal SCRIPT CMD... runs CMD on a terminal and plays SCRIPT to it: see terminal_test.go
//	over FILE TARGET CMD... runs CMD where FILE lies over TARGET (/etc/hosts, say)
//	peak KIB CMD...        runs CMD, which must never hold more than that many KiB of memory itself
func TestScript(t *testing.T) {
	areas := []string{"fs", "proc", "kernel", "net", "secrets", "tty", "life", "tools"}
	if os.Getuid() == 0 {
		areas = []string{"root"}
	}
	for _, area := range areas {
		t.Run(area, func(t *testing.T) {
			dir := filepath.Join("testdata", area)
			if found, _ := filepath.Glob(filepath.Join(dir, "*.txtar")); len(found) == 0 {
				t.Fatal("no scripts")
			}
			deadline, _ := t.Deadline()
			testscript.RunT(terse{t}, testscript.Params{
				Dir: dir, Setup: setup, Cmds: commands(), Deadline: deadline, RequireUniqueNames: true, RequireExplicitExec: true,
			})
		})
	}
}

// terse makes testscript show what failed and not, as it does under -v and so under -json, all that went well and the environment.
type terse struct{ *testing.T }

func (t terse) Run(name string, f func(testscript.T)) {
	t.T.Run(name, func(t *testing.T) { f(terse{t}) })
}

func (terse) Verbose() bool { return false }

var web = sync.OnceValues(startWeb)

const profile = `extends = ["default"]

[[net.rule]]
host = "web.example"
ports = [80]
connect = "%[1]s"

[[net.rule]]
host = "web.example"
ports = [443]
connect = "%[2]s"
upstream_ca = "%[4]s"

[[net.rule]]
host = "git.example"
ports = [80]
connect = "%[1]s"

[[net.rule]]
host = "git.example"
ports = [443]
connect = "%[2]s"
upstream_ca = "%[4]s"

[[net.rule]]
host = "echo.example"
ports = [7]
connect = "%[3]s"

[[net.rule]]
host = "api.anthropic.com"
ports = [443]
connect = "%[2]s"
upstream_ca = "%[4]s"
`

// keep are the variables of the caller that say how this machine reaches the outside: its proxies and certificate authorities; and what
// the race detector is told (race_test.go).
var keep = regexp.MustCompile(`(?i)^(GORACE|(https?|no|all)_proxy|.*_CA_.*|.*_CA|SSL_CERT_.*|GIT_SSL_.*|GOPROXY|GOSUMDB|GONOSUMDB|npm_config_.*)=`)

func setup(env *testscript.Env) error {
	w, err := web()
	if err != nil {
		return err
	}
	project, home := filepath.Join(env.WorkDir, "project"), filepath.Join(env.WorkDir, "home")
	for _, dir := range []string{project, filepath.Join(home, ".ssh"), filepath.Join(env.WorkDir, "run")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	err = errors.Join(os.WriteFile(filepath.Join(home, ".ssh/id_ed25519"), []byte("a private key\n"), 0o600),
		os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[user]\n\tname = tester\n\temail = tester@example.com\n"), 0o600))
	if err != nil {
		return err
	}
	door := filepath.Join(env.WorkDir, "door.toml")
	text := fmt.Sprintf(profile, w.HTTP, w.HTTPS, w.Echo, w.CAFile)
	if err := os.WriteFile(door, []byte(text), 0o600); err != nil {
		return err
	}
	testdata, err := filepath.Abs("testdata")
	if err != nil {
		return err
	}
	for _, v := range os.Environ() {
		if keep.MatchString(v) {
			env.Vars = append(env.Vars, v)
		}
	}
	path, err := searchPath(env.Getenv("PATH"))
	if err != nil {
		return err
	}
	env.Vars = append(env.Vars, "PATH="+path, "HOME="+home, "XDG_CONFIG_HOME="+home+"/.config", "XDG_STATE_HOME="+home+"/.local/state",
		"XDG_CACHE_HOME="+home+"/.cache", "XDG_RUNTIME_DIR="+env.WorkDir+"/run", "TERM=xterm", "LANG=C.UTF-8", "SHELL=/bin/sh",
		"HTTP_ADDR="+w.HTTP, "HTTPS_ADDR="+w.HTTPS, "ECHO_ADDR="+w.Echo, "HTTPS_CA="+w.CAFile, "DOOR="+door, "FILES="+w.Files, "TESTDATA="+testdata)
	env.Cd = project
	git := exec.Command("git", "init", "-q", "-b", "main", project)
	git.Env = append(env.Vars, "GIT_CONFIG_NOSYSTEM=1")
	if out, err := git.CombinedOutput(); err != nil {
		return fmt.Errorf("git init: %w: %s", err, out)
	}
	return nil
}

// searchPath is what a person's would be: the program under test, the test's own programs (the first of what testscript gives), Go's and
// the system's. What else the caller's holds may be root's, or a version manager's.
func searchPath(given string) (string, error) {
	programs, _, _ := strings.Cut(given, ":")
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	return strings.Join([]string{
		filepath.Dir(os.Getenv("AGENTJAIL_BIN")), programs, filepath.Join(strings.TrimSpace(string(goroot)), "bin"),
		"/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin",
	}, ":"), nil
}

func commands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"control": func(ts *testscript.TestScript, neg bool, args []string) {
			if neg {
				ts.Fatalf("a control succeeds")
			}
			ts.Check(ts.Exec(args[0], args[1:]...))
		},
		"expand": func(ts *testscript.TestScript, _ bool, args []string) {
			for _, name := range args {
				text := os.Expand(ts.ReadFile(name), ts.Getenv)
				ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o666))
			}
		},
		"probe": func(ts *testscript.TestScript, _ bool, args []string) {
			built, err := probe()
			ts.Check(err)
			ts.Check(copyFile(ts.MkAbs(args[0]), built))
		},
		"asked": func(ts *testscript.TestScript, neg bool, args []string) {
			w, err := web()
			ts.Check(err)
			if saw := w.saw(append(args, "")[0], append(args, "")[1]); saw == neg {
				ts.Fatalf("a request for %q reached the server: %v", args, saw)
			}
		},
		"claude": installClaude,
		"sshd": func(ts *testscript.TestScript, _ bool, _ []string) {
			addr, stop, err := startSSHD(ts.MkAbs(".."))
			ts.Check(err)
			ts.Defer(stop)
			ts.Setenv("SSH_ADDR", addr)
			f, err := os.OpenFile(ts.Getenv("DOOR"), os.O_APPEND|os.O_WRONLY, 0)
			ts.Check(err)
			_, err = fmt.Fprintf(f, "\n[[net.rule]]\nhost = \"ssh.example\"\nports = [22]\nconnect = %q\n", addr)
			ts.Check(errors.Join(err, f.Close()))
		},
	}
}

// probe compiles testdata/probe.c, once: static, so that it is the same program on either side of a wall.
var probe = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "probe")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "probe")
	cc := exec.Command("gcc", "-static", "-O1", "-Wall", "-Werror", "-o", out, "testdata/probe.c")
	if said, err := cc.CombinedOutput(); err != nil {
		return "", fmt.Errorf("probe.c: %w: %s", err, said)
	}
	return out, nil
})
