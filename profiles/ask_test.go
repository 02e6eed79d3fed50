package profiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestNoToolOfTheProjects: what an agent may have written is not run on the host, wherever the PATH leads. Control: the same
// tool in the same place is found when nobody writes there.
func TestNoToolOfTheProjects(t *testing.T) {
	h := newHost(t)
	evil := "#!/bin/sh\necho '{\"registry\":\"https://evil.example.com/\"}'\n"
	h.write(h.project+"/node_modules/.bin/npm", evil, 0o755)
	h.write(h.home+"/cache/npm", evil, 0o755)
	h.must(os.Symlink(h.project+"/node_modules/.bin", h.home+"/linked"))
	h.must(os.Mkdir(h.home+"/links", 0o755))
	h.must(os.Symlink(h.project+"/node_modules/.bin/npm", h.home+"/links/npm"))
	t.Chdir(h.project + "/node_modules")
	write := []Item{{"~/cache", "w"}}
	for _, path := range []string{h.project + "/node_modules/.bin", h.home + "/linked", h.home + "/links", h.home + "/cache", ".bin", ""} {
		h.asker.Env = []string{"HOME=" + h.home, "PATH=" + path}
		p := &Profile{FS: FS{Write: write}, Net: Net{Allow: []Item{{"@npm", "x"}}}}
		if got, err := h.asker.Expand(context.Background(), p); err == nil {
			t.Errorf("%s: %s", path, values(opened(got)))
		}
		if !filepath.IsAbs(path) {
			continue
		}
		trusting := h.asker
		trusting.Avoid, p.FS.Write = nil, nil
		if got, err := trusting.Expand(context.Background(), p); err != nil || values(opened(got)) != "evil.example.com:443" {
			t.Errorf("control: %s: %v, %v", path, got, err)
		}
	}
	h.tool("npm", `echo '{"registry":"https://npm.example.com/"}'`)
	for _, first := range []string{h.project + "/node_modules/.bin", h.home + "/linked", h.home + "/links"} {
		h.asker.Env = []string{"HOME=" + h.home, "PATH=" + first + ":" + h.bin}
		if got := h.hosts("npm"); got != "npm.example.com:443" {
			t.Errorf("the next on the PATH after %s: %s", first, got)
		}
	}
	h.asker.Dir = h.project
	if got, err := h.expand("npm"); err == nil {
		t.Errorf("run in the project: %s", values(opened(got)))
	}
}

// TestToolsSeeAShortEnvironment: a variable that the project's scripts export does not steer the tool.
func TestToolsSeeAShortEnvironment(t *testing.T) {
	h := newHost(t)
	h.tool("npm", npmBare+"/usr/bin/env >"+h.home+"/seen; /bin/pwd >"+h.home+"/cwd; [ ! -t 0 ] && echo '{\"registry\":\"https://npm.example.com/\"}'")
	h.asker.Env = append(h.asker.Env, "npm_config_registry=https://evil.example.com/", "NPM_CONFIG_REGISTRY=x", "NODE_OPTIONS=--require=/x", "LD_PRELOAD=/x.so", "GOFLAGS=x",
		"GOENV=/x", "PYTHONPATH=/x", "PIP_CONFIG_FILE=/x", "BASH_ENV=/x", "XDG_CONFIG_HOME="+h.project+"/c", "CARGO_HOME="+h.home+"/cargo", "SECRET=1", "GOPROXY=https://p.example.com")
	h.hosts("npm")
	seen, err := os.ReadFile(h.home + "/seen")
	h.must(err)
	var got []string
	for line := range strings.Lines(string(seen)) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "_=") && !strings.HasPrefix(line, "PWD=") { // the shell's own
			got = append(got, line)
		}
	}
	slices.Sort(got)
	want := []string{"CARGO_HOME=" + h.home + "/cargo", "GOPROXY=https://p.example.com", "HOME=" + h.home, "LC_ALL=C", "PATH=" + h.bin, "npm_config_logs_max=0", "npm_config_update_notifier=false"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if cwd, _ := os.ReadFile(h.home + "/cwd"); strings.TrimSpace(string(cwd)) != h.home {
		t.Errorf("run in %s", cwd)
	}
}

// TestAToolThatHangs: the time is up, and the whole tree of processes is gone. A child holds the writing end of a FIFO, so the
// reader's end of file is the proof.
func TestAToolThatHangs(t *testing.T) {
	h := newHost(t)
	fifo := h.home + "/fifo"
	h.must(syscall.Mkfifo(fifo, 0o600))
	h.tool("npm", "exec 9>"+fifo+"\n/bin/sleep 1000 &\necho started >&9\nwait\n")
	h.asker.Timeout = 300 * time.Millisecond
	read := make(chan string)
	go func() {
		text, err := os.ReadFile(fifo)
		read <- fmt.Sprint(string(text), err)
	}()
	p, err := h.expand("npm")
	if err == nil || !strings.Contains(err.Error(), "npm config list --json --global: no answer within 300ms") {
		t.Errorf("%v, %v", p, err)
	}
	select {
	case got := <-read:
		if got != "started\n<nil>" {
			t.Error(got)
		}
	case <-time.After(10 * time.Second):
		t.Error("a child of the tool still runs")
	}
}

func TestACallerThatGoesAway(t *testing.T) {
	h := newHost(t)
	fifo := h.home + "/fifo"
	h.must(syscall.Mkfifo(fifo, 0o600))
	h.tool("npm", "echo up >"+fifo+"\nexec /bin/sleep 1000\n")
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		f, err := os.Open(fifo)
		if err == nil {
			_, _ = io.ReadAll(f)
			f.Close()
		}
		cancel()
	}()
	h.asker.Timeout = time.Minute
	_, err := h.asker.Expand(ctx, &Profile{Net: Net{Allow: []Item{{"@npm", "x"}}}})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAnswersAreKept(t *testing.T) {
	h := newHost(t)
	asked := h.home + "/asked"
	script := "[ -z \"$npm_config_userconfig\" ] && echo x >>" + asked + "; echo '{\"registry\":\"https://npm.example.com/\"}'"
	h.tool("npm", script)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h.asker.CacheDir, h.asker.Now = h.home+"/state/bundles", func() time.Time { return now }
	want := 0
	step := func(name string, asks int) {
		t.Helper()
		want += asks
		if got := h.hosts("npm"); got != "npm.example.com:443" {
			t.Errorf("%s: %s", name, got)
		}
		data, err := os.ReadFile(asked)
		h.must(err)
		if got := strings.Count(string(data), "x"); got != want {
			t.Errorf("%s: asked %d times, want %d", name, got, want)
		}
	}
	step("first", 1)
	step("again", 0)
	now = now.Add(24*time.Hour - time.Second)
	step("within the day", 0)
	now = now.Add(time.Second)
	step("after a day", 1)
	now = now.Add(-time.Hour)
	step("the clock went back", 1)
	h.write(h.home+"/.npmrc", "registry=x\n", 0o600)
	step("the user's file came", 1)
	h.write(h.home+"/.npmrc", "registry=xy\n", 0o600)
	step("the user's file changed", 1)
	h.tool("npm", script+" #")
	step("the tool changed", 1)
	h.asker.Env = append(h.asker.Env, "NVM_DIR=/x")
	step("the environment changed", 1)
	h.asker.Env = append(h.asker.Env, "UNRELATED=/x")
	step("what the tool does not see", 0)
	file := h.asker.CacheDir + "/npm.json"
	info, err := os.Stat(file)
	h.must(err)
	if info.Mode().Perm() != 0o600 {
		t.Error(info.Mode())
	}
	h.write(file, "{", 0o600)
	step("a broken file", 1)
	h.must(os.RemoveAll(h.home + "/state"))
	h.write(h.home+"/state", "", 0o600)
	step("no place to keep it", 1)
	h.asker.CacheDir = ""
	step("no cache", 1)

	h = newHost(t)
	h.asker.CacheDir = h.home + "/state"
	h.tool("npm", "exit 1")
	if _, err := h.expand("npm"); err == nil {
		t.Error("an error is no answer")
	}
	h.tool("npm", script) // another size
	if got := h.hosts("npm"); got != "npm.example.com:443" {
		t.Error(got)
	}
}

// TestTheProjectsFilesHaveNoSay runs the real npm in a project that is written by an agent. Control: asked in the project, npm
// does answer what the project says. (go env has no such file for GOPROXY, pip none in the directory, and cargo is not run.)
func TestTheProjectsFilesHaveNoSay(t *testing.T) {
	if _, err := exec.LookPath("npm"); err != nil {
		t.Fatal("the tests need npm")
	}
	h := newHost(t)
	h.write(h.project+"/.npmrc", "registry=http://evil.example.com/\n@acme:registry=http://evil.example.com/\n", 0o644)
	h.write(h.project+"/package.json", "{}", 0o644)
	h.write(h.home+"/.npmrc", "registry=http://user.example.com:81/\n@mine:registry=https://scope.example.com/\n", 0o600)
	h.asker.Env = []string{"HOME=" + h.home, "PATH=" + os.Getenv("PATH")}
	h.asker.Timeout = time.Minute // the machine may be busy
	t.Chdir(h.project)
	control := exec.Command("npm", "config", "get", "registry")
	control.Env = append(slices.Clone(h.asker.Env), "npm_config_logs_max=0")
	if out, err := control.Output(); strings.TrimSpace(string(out)) != "http://evil.example.com/" {
		t.Fatalf("control: in the project npm says %q, %v", out, err)
	}
	const want = "scope.example.com:443 user.example.com:81"
	if got := h.hosts("npm"); got != want {
		t.Errorf("got %s", got)
	}
	// And if it were run in the project after all, npm is told to leave the file unread.
	h.asker.Avoid, h.asker.Dir = nil, h.project
	if got := h.hosts("npm"); got != want {
		t.Errorf("in the project: %s", got)
	}
	if logs, _ := filepath.Glob(h.home + "/.npm/_logs/*"); len(logs) > 0 {
		t.Errorf("npm wrote %q", logs)
	}
}
