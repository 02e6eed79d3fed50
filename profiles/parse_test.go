package profiles

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func TestParse(t *testing.T) {
	got, err := Parse("claude", []byte(`
description = "x"
match = ["claude"]
extends = ["default"]
[fs]
read = ["/opt/x"]
write = ["~/.cache/x"]
hide = [".env", "*.pem"]
protect = ["deploy"]
unprotect = [".vscode"]
home = "persistent"
copy = ["~/.config/x"]
[net]
mode = "door"
allow = ["api.example.com", "*.example.org:443", "@npm"]
deny = ["gist.example.com"]
denied = "nxdomain"
proxy_env = false
[[net.rule]]
host = "db.example.com"
ports = [5432]
private = true
tls = "tunnel"
[[net.rule]]
host = "api.example.com"
connect = "127.0.0.1:9443"
upstream_ca = "~/ca.pem"
tls = "inspect"
methods = ["GET", "POST"]
paths = ["/v1/messages", "/v1/models/*"]
git = "push"
push_refs = ["agent/*"]
max_request = "4MiB"
max_upload = "200MiB"
api = "anthropic"
server_tools = ["web_search"]
[[secret]]
name = "anthropic"
env = "ANTHROPIC_API_KEY"
hosts = ["api.anthropic.com"]
[[secret]]
name = "login"
env = "TOKEN"
file = "~/.x/auth.json"
pointer = "/tokens/0"
from = "cmd:pass show 'my token'"
hosts = []
header = "query:key"
pin = false
ttl = "1h"
cache = "1m"
[limits]
memory = "8GiB"
pids = 4096
cpus = 2
files = 65536
wall = "8h"
[syscalls]
groups = ["debug"]
[env]
pass = ["TERM", "LC_*"]
set = { CI = "1", A_B = "" }
`))
	if err != nil {
		t.Fatal(err)
	}
	w := func(v, key string) Item { return Item{Value: v, Why: "claude.toml: " + key} }
	want := &Profile{
		Name: "claude", Description: "x", Match: []string{"claude"}, Extends: []string{"default"},
		FS: FS{
			Read: []Item{w("/opt/x", "fs.read[0]")}, Write: []Item{w("~/.cache/x", "fs.write[0]")},
			Hide:    []Item{w(".env", "fs.hide[0]"), w("*.pem", "fs.hide[1]")},
			Protect: []Item{w("deploy", "fs.protect[0]")}, Unprotect: []Item{w(".vscode", "fs.unprotect[0]")},
			Copy: []Item{w("~/.config/x", "fs.copy[0]")}, Home: w("persistent", "fs.home"),
		},
		Net: Net{
			Mode: w("door", "net.mode"), Denied: w("nxdomain", "net.denied"), ProxyEnv: w("false", "net.proxy_env"),
			Allow: []Item{w("api.example.com", "net.allow[0]"), w("*.example.org:443", "net.allow[1]"), w("@npm", "net.allow[2]")},
			Deny:  []Item{w("gist.example.com", "net.deny[0]")},
			Rules: []Rule{
				{Host: "db.example.com", Ports: []int{5432}, Private: true, TLS: "tunnel", Why: "claude.toml: net.rule[0]"},
				{
					Host: "api.example.com", Connect: "127.0.0.1:9443", UpstreamCA: "~/ca.pem", TLS: "inspect",
					Methods: []string{"GET", "POST"}, Paths: []string{"/v1/messages", "/v1/models/*"}, Git: "push", PushRefs: []string{"agent/*"},
					MaxRequest: "4MiB", MaxUpload: "200MiB", API: "anthropic", ServerTools: []string{"web_search"}, Why: "claude.toml: net.rule[1]",
				},
			},
		},
		Limits: Limits{
			Memory: w("8GiB", "limits.memory"), Pids: w("4096", "limits.pids"), CPUs: w("2", "limits.cpus"),
			Files: w("65536", "limits.files"), Wall: w("8h", "limits.wall"),
		},
		Syscalls: []Item{w("debug", "syscalls.groups[0]")},
		Env: Env{
			Pass: []Item{w("TERM", "env.pass[0]"), w("LC_*", "env.pass[1]")},
			Set:  []EnvSet{{Name: "A_B", Why: "claude.toml: env.set.A_B"}, {Name: "CI", Value: "1", Why: "claude.toml: env.set.CI"}},
		},
		Secrets: []Secret{
			{Name: "anthropic", Env: "ANTHROPIC_API_KEY", From: "env:ANTHROPIC_API_KEY", Hosts: []string{"api.anthropic.com"}, Pin: true, Why: "claude.toml: secret[0]"},
			{
				Name: "login", Env: "TOKEN", File: "~/.x/auth.json", Pointer: "/tokens/0", From: "cmd:pass show 'my token'", Hosts: []string{},
				Header: "query:key", TTL: "1h", Cache: "1m", Why: "claude.toml: secret[1]",
			},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestAnEmptyFileWishesNothing(t *testing.T) {
	got, err := Parse("dir/x.toml", nil)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&Profile{Name: "x"}, got); d != "" {
		t.Error(d)
	}
}

// TestErrors: every file of testdata/errors is refused, with the text that stands beside it. A file is a wrong profile; control
// is that TestParse takes each key in its right form.
func TestErrors(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.toml")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Parse(filepath.Base(file), data)
			if err == nil || p != nil {
				t.Fatalf("got %+v, %v", p, err)
			}
			e, ok := errors.AsType[*Error](err)
			if !ok {
				t.Fatalf("%T is no *Error", err)
			}
			got := e.Error() + "\n"
			if e.Hint != "" {
				got += "hint: " + e.Hint + "\n"
			}
			golden := strings.TrimSuffix(file, ".toml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestAFileThatIsTooLong(t *testing.T) {
	if _, err := Parse("x", []byte(strings.Repeat("#", maxFile+1))); err == nil {
		t.Error("taken")
	}
	if _, err := Parse("x", []byte(strings.Repeat("#", maxFile))); err != nil { // control
		t.Error(err)
	}
}

func TestErrorsArePrintable(t *testing.T) {
	for _, data := range []string{
		"# \x1b]0;x\x07\nfoo\x1b[2J = 1", "\"a\x1b[31m\" = 1", "match = [\"\\u001b[31m\"]", "[net]\nallow = [\"\\u202eexample.com\"]", "\xff\xfe = 1",
		"[fs]\nhome = \"\\u009b\"", "description = \"a\\nb\"", "[env.set]\n\"\\u0007\" = \"x\"",
	} {
		_, err := Parse("x\x1b[31m", []byte(data))
		if err == nil {
			t.Errorf("%q: taken", data)
			continue
		}
		e, _ := errors.AsType[*Error](err)
		if text := strings.ReplaceAll(err.Error()+e.Hint, "\n", ""); text != printable(text) {
			t.Errorf("%q: %q", data, text)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/errors/*.toml", "builtin/*.toml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse("x", data)
		if err != nil {
			if text := strings.ReplaceAll(err.Error(), "\n", ""); text != printable(text) {
				t.Errorf("not printable: %q", text)
			}
			return
		}
		if err := p.Check(); err != nil {
			t.Errorf("parsed and does not check: %v", err)
		}
		if d := cmp.Diff(p, withName(Merge(p, p), p.Name)); d != "" && !twice(p) {
			t.Error(d)
		}
	})
}

func withName(p *Profile, name string) *Profile { p.Name = name; return p }

// twice says that a list names one value more than once, which Merge makes one.
func twice(p *Profile) bool { return cmp.Diff(p, withName(Merge(nil, p), p.Name)) != "" }
