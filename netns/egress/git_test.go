package egress

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
)

const gitHost = "git.example.com"

// forge is git's own server behind a door, and a work tree in the jail.
type forge struct {
	*jail
	t     *testing.T
	root  string // bare repositories
	work  string // clone of repo.git
	env   []string
	token atomic.Value // string; the server wants it as the password
}

// newForge makes repo.git with a main branch, sixty others and agent/old, and super.git that has it as a submodule.
// change may alter the door's Config.
func newForge(t *testing.T, rule Rule, change ...func(*Config)) *forge {
	t.Helper()
	f := &forge{t: t, root: t.TempDir()}
	f.token.Store("")
	home := t.TempDir()
	f.env = []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
	}
	seed := filepath.Join(home, "seed")
	for _, name := range []string{"repo.git", "super.git"} {
		bare := filepath.Join(f.root, name)
		f.git("", "init", "-q", "--bare", "-b", "main", bare)
		for _, set := range []string{"http.receivepack", "uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant", "receive.advertisePushOptions"} {
			f.git(bare, "config", set, "true")
		}
	}
	f.git("", "init", "-q", "-b", "main", seed)
	var history strings.Builder // one process instead of two hundred
	for i := range 62 {         // the wants of a clone become long enough to be compressed
		name := fmt.Sprint("many", i)
		fmt.Fprintf(&history, "commit refs/heads/main\ncommitter a <a@example.com> %d +0000\ndata 1\nx\nM 644 inline %s\ndata %d\n%s\n", 1e9+i, name, len(name), name)
		fmt.Fprintf(&history, "reset refs/heads/%s\nfrom refs/heads/main\n\n", name)
	}
	history.WriteString("reset refs/heads/agent/old\nfrom refs/heads/many60\n\n")
	cmd := exec.Command("git", "fast-import", "--quiet")
	cmd.Dir, cmd.Env, cmd.Stdin = seed, f.env, strings.NewReader(history.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("fast-import: %v: %s", err, out)
	}
	f.git(seed, "push", "-q", "--all", filepath.Join(f.root, "repo.git"))
	super := filepath.Join(home, "super")
	f.git("", "init", "-q", "-b", "main", super)
	f.git(super, "-c", "protocol.file.allow=always", "submodule", "add", "-q", filepath.Join(f.root, "repo.git"), "sub")
	f.git(super, "config", "-f", ".gitmodules", "submodule.sub.url", "https://"+gitHost+"/repo.git")
	f.git(super, "commit", "-q", "-a", "-m", "sub")
	f.git(super, "push", "-q", filepath.Join(f.root, "super.git"), "main")
	f.git(filepath.Join(f.root, "repo.git"), "update-server-info")

	addr, ca := tlsBackend(t, gitHost, f.serve)
	rule.Host, rule.Ports, rule.Connect, rule.UpstreamCA, rule.Why = gitHost, []uint16{443}, addr, ca.PEM(), "test"
	f.jail = newJail(t, []Rule{rule}, func(c *Config) {
		for _, change := range change {
			change(c)
		}
	})
	trust := filepath.Join(home, "ca.pem")
	if err := os.WriteFile(trust, f.ca.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	f.git("", "config", "--global", "http.sslCAInfo", trust)
	f.git("", "config", "--global", "http.proxy", "http://"+net.JoinHostPort(testGateway.String(), f.ports[proxyPort]))
	f.work = filepath.Join(home, "work")
	return f
}

// serve is git http-backend, and below /dumb/ files and nothing else. Its net/http/cgi takes no body without a length.
func (f *forge) serve(w http.ResponseWriter, r *http.Request) {
	if _, password, _ := r.BasicAuth(); password != f.token.Load() {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "who are you? not "+r.Header.Get("Authorization"), http.StatusUnauthorized)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/dumb/") {
		http.StripPrefix("/dumb", http.FileServer(http.Dir(f.root))).ServeHTTP(w, r)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the door has cut it
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	r.Header.Set("Content-Length", fmt.Sprint(len(body)))
	path, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		f.t.Error(err)
	}
	h := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(path)), "git-http-backend"), Stderr: io.Discard,
		Env: append([]string{"GIT_PROJECT_ROOT=" + f.root, "GIT_HTTP_EXPORT_ALL=1", "GIT_PROTOCOL=" + r.Header.Get("Git-Protocol")}, f.env[:3]...),
	}
	h.ServeHTTP(w, r)
}

// try runs git and gives everything that it prints.
func (f *forge) try(dir string, args ...string) (string, error) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 6*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir, cmd.Env = dir, f.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // git's own children end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (f *forge) git(dir string, args ...string) string {
	f.t.Helper()
	out, err := f.try(dir, args...)
	if err != nil {
		f.t.Fatalf("git %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(out)
}

func (f *forge) commit(dir, name string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.git(dir, "add", name)
	f.git(dir, "commit", "-q", "-m", name)
}

// clone makes the work tree.
func (f *forge) clone(args ...string) {
	f.t.Helper()
	f.git("", append(append([]string{"clone", "-q"}, args...), "https://"+gitHost+"/repo.git", f.work)...)
}

// ref gives what the server has.
func (f *forge) ref(name string) string {
	f.t.Helper()
	out, err := f.try(filepath.Join(f.root, "repo.git"), "rev-parse", "-q", "--verify", name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// TestGitFetch: everything that reads works.
func TestGitFetch(t *testing.T) {
	f := newForge(t, Rule{Git: "fetch"})
	for _, version := range []string{"0", "1", "2"} {
		t.Run("version "+version, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "x")
			f.git("", "-c", "protocol.version="+version, "clone", "-q", "https://"+gitHost+"/repo.git", to)
			if got, want := f.git(to, "rev-parse", "HEAD"), f.ref("main"); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			f.git(to, "-c", "protocol.version="+version, "fetch", "-q", "origin", "agent/old")
		})
	}
	t.Run("shallow", func(t *testing.T) {
		to := filepath.Join(t.TempDir(), "x")
		f.git("", "clone", "-q", "--depth=1", "https://"+gitHost+"/repo.git", to)
		if n := f.git(to, "rev-list", "--count", "HEAD"); n != "1" {
			t.Errorf("%s commits", n)
		}
		f.git(to, "fetch", "-q", "--deepen=3")
		f.git(to, "fetch", "-q", "--unshallow")
	})
	t.Run("partial", func(t *testing.T) {
		to := filepath.Join(t.TempDir(), "x")
		f.git("", "clone", "-q", "--no-checkout", "--filter=blob:none", "https://"+gitHost+"/repo.git", to)
		f.git(to, "checkout", "-q", "main") // fetches what is missing
		if _, err := os.Stat(filepath.Join(to, "many59")); err != nil {
			t.Error(err)
		}
	})
	t.Run("submodule", func(t *testing.T) {
		to := filepath.Join(t.TempDir(), "x")
		f.git("", "clone", "-q", "--recurse-submodules", "https://"+gitHost+"/super.git", to)
		if _, err := os.Stat(filepath.Join(to, "sub", "many2")); err != nil {
			t.Error(err)
		}
	})
	t.Run("dumb", func(t *testing.T) {
		to := filepath.Join(t.TempDir(), "x")
		f.git("", "clone", "-q", "https://"+gitHost+"/dumb/repo.git", to)
		if got, want := f.git(to, "rev-parse", "HEAD"), f.ref("main"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}

// TestGitPushIsRefused: git's user reads why, and what to do instead.
func TestGitPushIsRefused(t *testing.T) {
	f := newForge(t, Rule{Git: "fetch"})
	f.clone()
	f.commit(f.work, "mine")
	out, err := f.try(f.work, "push", "origin", "main:agent/mine")
	if err == nil || !strings.Contains(out, "remote: agentjail:") || !strings.Contains(out, "commit here; push from outside the jail after review") {
		t.Errorf("push: %v\n%s", err, out)
	}
	if f.ref("agent/mine") != "" {
		t.Error("it arrived")
	}
	if e := f.waitDeny(GitPush); e.Host != gitHost || e.Kind != "http.deny" {
		t.Errorf("event: %+v", e)
	}
	out, err = f.try(f.work, "push", "https://"+gitHost+"/dumb/repo.git", "main:agent/mine")
	if err == nil || f.ref("agent/mine") != "" {
		t.Errorf("push over WebDAV: %s", out)
	}

	control := newForge(t, Rule{Git: "push"})
	control.clone()
	control.commit(control.work, "mine")
	control.git(control.work, "push", "-q", "origin", "main:agent/mine", "main")
	control.git(control.work, "push", "-q", "origin", ":many7")
	control.git(control.work, "commit", "-q", "--amend", "-m", "again")
	control.git(control.work, "push", "-q", "-f", "origin", "main:agent/mine", "main")
	if control.ref("agent/mine") == "" || control.ref("agent/mine") != control.ref("main") || control.ref("many7") != "" {
		t.Error("control: it did not arrive")
	}
}

func TestGitNone(t *testing.T) {
	f := newForge(t, Rule{Git: "none"})
	out, err := f.try("", "clone", "https://"+gitHost+"/repo.git", f.work)
	if err == nil || !strings.Contains(out, "remote: agentjail:") {
		t.Errorf("clone: %v\n%s", err, out)
	}
	if res, _ := get(t, f.client(), "https://"+gitHost+"/dumb/"); res.StatusCode != 200 {
		t.Errorf("control: %s", res.Status)
	}
}

// TestGitPushRefs: a push passes with all of its commands or not at all, and nothing that was pushed before can be lost.
func TestGitPushRefs(t *testing.T) {
	f := newForge(t, Rule{Git: "push", PushRefs: []string{"agent/*"}})
	f.clone()
	f.commit(f.work, "mine")
	f.git(f.work, "branch", "base", "HEAD~1")
	branch := func(name, from string, then ...string) {
		f.git(f.work, "checkout", "-q", "-b", name, from)
		if len(then) == 0 {
			then = []string{"commit", "-q", "--allow-empty", "-m", name}
		}
		f.git(f.work, then...)
	}
	branch("next", "main")
	branch("amended", "main", "commit", "-q", "--amend", "-m", "amended")
	branch("merged", "next", "merge", "-q", "--no-ff", "-m", "merged", "amended")
	branch("long", "merged")
	branch("longer", "long")
	branch("unlike", "longer~1")
	branch("on-old", "origin/agent/old")
	branch("beside-old", "origin/agent/old~1")
	branch("by-way", "base")
	f.git(f.work, "checkout", "-q", "main")
	for _, tc := range []struct {
		name string
		args []string
		says string            // "": it passes
		refs map[string]string // what the server has afterwards: ref → revision in the work tree, "" for none
	}{
		{"create", []string{"main:agent/a"}, "", map[string]string{"agent/a": "main"}},
		{"another branch", []string{"main"}, "only agent/* may be pushed", map[string]string{"main": "base"}},
		{"both", []string{"main:agent/b", "main"}, "only agent/* may be pushed", map[string]string{"agent/b": "", "main": "base"}},
		{"both, atomic", []string{"--atomic", "main:agent/b", "main"}, "only agent/* may be pushed", map[string]string{"agent/b": "", "main": "base"}},
		{"atomic", []string{"--atomic", "main:agent/b", "main:agent/c"}, "", map[string]string{"agent/b": "main", "agent/c": "main"}},
		{"tag", []string{"main:refs/tags/agent/a"}, "only agent/*", map[string]string{"refs/tags/agent/a": ""}},
		{"another namespace", []string{"main:refs/x/agent/a"}, "only agent/*", map[string]string{"refs/x/agent/a": ""}},
		{"forced back", []string{"-f", "base:agent/a"}, "put a commit on top", map[string]string{"agent/a": "main"}},
		{"forward", []string{"next:agent/a"}, "", map[string]string{"agent/a": "next"}},
		{"amended", []string{"-f", "amended:agent/a"}, "not a fast-forward", map[string]string{"agent/a": "next"}},
		{"merge", []string{"merged:agent/a"}, "", map[string]string{"agent/a": "merged"}},
		{"several commits", []string{"longer:agent/a"}, "", map[string]string{"agent/a": "longer"}},
		{"delete", []string{":agent/a"}, "nothing may be deleted", map[string]string{"agent/a": "longer"}},
		{"one of two forced", []string{"-f", "unlike:agent/a", "on-old:agent/old"}, "refused with the others", map[string]string{"agent/a": "longer", "agent/old": "main~2"}},
		{"somebody's, forced", []string{"-f", "beside-old:agent/old"}, "not a fast-forward", map[string]string{"agent/old": "main~2"}},
		{"somebody's, forward to what is there", []string{"main~1:agent/old"}, "put a commit on top", map[string]string{"agent/old": "main~2"}},
		{"somebody's, forward by way of what is there", []string{"by-way:agent/old"}, "not a fast-forward that the door sees", map[string]string{"agent/old": "main~2"}},
		{"somebody's, forward", []string{"on-old:agent/old", "unlike:agent/e"}, "", map[string]string{"agent/old": "on-old", "agent/e": "unlike"}},
		{"option", []string{"-o", "ci.skip", "main:agent/d"}, "push options are not allowed", map[string]string{"agent/d": ""}},
		{"mirror", []string{"--mirror"}, "only agent/*", map[string]string{"main": "base", "many1": "origin/many1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := append([]string{"push", "origin"}, tc.args...)
			if tc.name == "mirror" {
				args = append([]string{"push"}, "--mirror", "https://"+gitHost+"/repo.git")
			}
			out, err := f.try(f.work, args...)
			if (err == nil) != (tc.says == "") || !strings.Contains(out, tc.says) {
				t.Errorf("%v\n%s", err, out)
			}
			if tc.says != "" && (!strings.Contains(out, "remote: agentjail:") || !strings.Contains(out, "[remote rejected]")) {
				t.Errorf("git does not say it:\n%s", out)
			}
			for ref, want := range tc.refs {
				if want != "" {
					want = f.git(f.work, "rev-parse", want)
				}
				if got := f.ref(ref); got != want {
					t.Errorf("%s is %q, want %q", ref, got, want)
				}
			}
		})
	}
	t.Run("from a shallow clone", func(t *testing.T) {
		to := filepath.Join(t.TempDir(), "x")
		f.git("", "clone", "-q", "--depth=1", "https://"+gitHost+"/repo.git", to)
		f.commit(to, "shallow")
		f.git(to, "push", "-q", "origin", "main:agent/shallow")
		if f.ref("agent/shallow") == "" {
			t.Error("it did not arrive")
		}
	})
	t.Run("large", func(t *testing.T) {
		noise := make([]byte, 3<<20)
		_, _ = rand.Read(noise)
		if err := os.WriteFile(filepath.Join(f.work, "noise"), noise, 0o600); err != nil {
			t.Fatal(err)
		}
		f.commit(f.work, "beside")
		f.git(f.work, "add", "noise")
		f.git(f.work, "commit", "-q", "-m", "noise")
		// Not over HTTP/2: there git 2.39 with libcurl 7.88 now and then waits for its own pipe when the pack is sent, with no door as well.
		f.git(f.work, "config", "http.version", "HTTP/1.1")
		f.git(f.work, "push", "-q", "origin", "main:agent/large")
		if f.ref("agent/large") != f.git(f.work, "rev-parse", "main") {
			t.Error("it did not arrive")
		}
		noise = make([]byte, maxPackHeld+1) // more than is held
		_, _ = rand.Read(noise)
		if err := os.WriteFile(filepath.Join(f.work, "noise"), noise, 0o600); err != nil {
			t.Fatal(err)
		}
		f.git(f.work, "commit", "-q", "-a", "-m", "more noise")
		f.git(f.work, "push", "-q", "origin", "main:agent/large")
		if f.ref("agent/large") != f.git(f.work, "rev-parse", "main") {
			t.Error("the update did not arrive")
		}
		if out, err := f.try(f.work, "push", "origin", "main:large"); err == nil || !strings.Contains(out, "[remote rejected]") || !strings.Contains(out, "only agent/*") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("from what is not there", func(t *testing.T) { // the server's part
		old, base := f.ref("agent/old"), f.ref("main")
		f.git(f.work, "checkout", "-q", "-b", "claim", base)
		f.commit(f.work, "claim")
		claim := f.git(f.work, "rev-parse", "claim")
		for i, line := range []string{strings.Repeat("0", 40) + " " + claim, base + " " + claim, old + " " + claim} {
			cmd := exec.Command("git", "pack-objects", "-q", "--revs", "--stdout")
			cmd.Dir, cmd.Env, cmd.Stdin = f.work, f.env, strings.NewReader("claim\n^"+base+"\n")
			pack, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			body := pktLine(line+" refs/heads/agent/old\x00report-status side-band-64k") + "0000" + string(pack)
			res, err := f.client().Post("https://"+gitHost+"/repo.git/git-receive-pack", "application/x-git-receive-pack-request", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if !strings.Contains(string(text), "ng refs/heads/agent/old") || strings.Contains(string(text), "agentjail") != (i == 2) {
				t.Errorf("%s: %q", line, text)
			}
		}
		if f.ref("agent/old") != old {
			t.Error("it was changed")
		}
	})
}
