package profiles

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// leaves are the fields of Profile that hold wishes, as widenings() names them.
func leaves(t reflect.Type, prefix string, into map[string]bool) {
	for f := range t.Fields() {
		if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Item]() {
			leaves(f.Type, prefix+f.Name+".", into)
			continue
		}
		into[prefix+f.Name] = true
	}
}

// TestEveryKeyIsClassified fails when a key is added to the schema and nobody has said whether it widens.
func TestEveryKeyIsClassified(t *testing.T) {
	fields, named := map[string]bool{}, map[string]bool{}
	leaves(reflect.TypeFor[Profile](), "", fields)
	for _, w := range widenings() {
		if named[w.key] {
			t.Errorf("%s twice", w.key)
		}
		named[w.key] = true
	}
	if d := cmp.Diff(slices.Sorted(maps.Keys(fields)), slices.Sorted(maps.Keys(named))); d != "" {
		t.Error(d)
	}
}

// TestARuleIsComparedWhole fails when a field is added to Rule that same does not look at: a project could then change it in a
// rule that base has.
func TestARuleIsComparedWhole(t *testing.T) {
	var r Rule
	setAll(reflect.ValueOf(&r).Elem())
	for f := range reflect.TypeFor[Rule]().Fields() {
		if f.Name == "Why" {
			continue
		}
		other := r
		v := reflect.ValueOf(&other).Elem().FieldByName(f.Name)
		v.Set(reflect.Zero(v.Type()))
		if r.same(other) || r.String() == other.String() {
			t.Errorf("%s makes no difference", f.Name)
		}
	}
	if !r.same(r) {
		t.Error("control")
	}
}

func TestWidens(t *testing.T) {
	const base = `
[fs]
read = ["/opt/r"]
write = ["/opt/w"]
copy = ["~/c"]
unprotect = [".vscode"]
[net]
allow = ["api.example.com", "*.example.org:443"]
deny = ["d.example.com"]
[[net.rule]]
host = "db.example.com"
ports = [5432]
[limits]
memory = "1GiB"
pids = 100
cpus = 2
files = 1000
wall = "1h"
[syscalls]
groups = ["debug"]
[env]
pass = ["TERM"]
set = { CI = "1" }
`
	for _, c := range []struct {
		key, base, project string
		want               []string // the values that widen
	}{
		{"Name", base, ``, nil},
		{"Description", base, `description = "x"`, nil},
		{"Match", base, `match = ["sh"]`, []string{"sh"}},
		{"Extends", base, `extends = ["x"]`, []string{"x"}},

		{"FS.Read", base, `fs.read = ["/opt/r", "/opt/w"]`, nil},
		{"FS.Read", base, `fs.read = ["/opt/r", "/opt"]`, []string{"/opt"}},
		{"FS.Write", base, `fs.write = ["/opt/w"]`, nil},
		{"FS.Write", base, `fs.write = ["/opt/r"]`, []string{"/opt/r"}},
		{"FS.Copy", base, `fs.copy = ["~/c"]`, nil},
		{"FS.Copy", base, `fs.copy = ["~/.ssh"]`, []string{"~/.ssh"}},
		{"FS.Unprotect", base, `fs.unprotect = [".vscode"]`, nil},
		{"FS.Unprotect", base, `fs.unprotect = [".git/hooks"]`, []string{".git/hooks"}},
		{"FS.Hide", base, `fs.hide = [".env"]`, nil},
		{"FS.Protect", base, `fs.protect = ["deploy"]`, nil},
		{"FS.Home", base, `fs.home = "ephemeral"`, nil},
		{"FS.Home", base, `fs.home = "persistent"`, []string{"persistent"}},
		{"FS.Home", `fs.home = "persistent"`, `fs.home = "persistent"`, nil},

		{"Net.Mode", base, `net.mode = "none"`, nil},
		{"Net.Mode", base, `net.mode = "door"`, nil},
		{"Net.Mode", `net.mode = "none"`, `net.mode = "door"`, []string{"door"}},
		{"Net.Denied", base, `net.denied = "nxdomain"`, nil},
		{"Net.Denied", base, `net.denied = "explain"`, nil},
		{"Net.Denied", `net.denied = "nxdomain"`, `net.denied = "explain"`, []string{"explain"}},
		{"Net.ProxyEnv", base, `net.proxy_env = false`, nil},
		{"Net.ProxyEnv", base, `net.proxy_env = true`, []string{"true"}},
		{"Net.ProxyEnv", `net.proxy_env = true`, `net.proxy_env = true`, nil},
		{"Net.Allow", base, `net.allow = ["api.example.com"]`, nil},
		{"Net.Allow", base, `net.allow = ["api.example.com:22", "www.example.org:443", "@npm"]`, []string{"api.example.com:22", "www.example.org:443", "@npm"}},
		{"Net.Deny", base, `net.deny = ["api.example.com"]`, nil},
		{"Net.Rules", base, `net.rule = [{ host = "db.example.com", ports = [5432] }]`, nil},
		{"Net.Rules", base, `net.rule = [{ host = "db.example.com", ports = [5432], connect = "127.0.0.1:1", private = true, upstream_ca = "/x" }]`,
			[]string{"db.example.com:5432 private connect=127.0.0.1:1 upstream_ca=/x"}},
		{"Net.Rules", base, `net.rule = [{ host = "db.example.com", ports = [5432, 22] }]`, []string{"db.example.com:5432,22"}},
		{"Net.Rules", base, `net.rule = [{ host = "db.example.com", ports = [5432], methods = ["GET"] }]`, []string{"db.example.com:5432 methods=GET"}},
		{"Net.Rules", base, `net.rule = [{ host = "db.example.com", ports = [5432], api = "openai", server_tools = ["web_search", "mcp"], max_request = "1MiB" }]`,
			[]string{"db.example.com:5432 max_request=1MiB api=openai server_tools=web_search,mcp"}},
		{"Secrets", base, `secret = [{ name = "x", env = "X", hosts = ["evil.example.com"] }]`, []string{"secret x to evil.example.com"}},

		{"Limits.Memory", base, `limits.memory = "1024MiB"`, nil},
		{"Limits.Memory", base, `limits.memory = "1.1GiB"`, []string{"1.1GiB"}},
		{"Limits.Memory", ``, `limits.memory = "2GiB"`, nil},
		{"Limits.Memory", ``, `limits.memory = "64GiB"`, []string{"64GiB"}},
		{"Limits.Pids", base, `limits.pids = 99`, nil},
		{"Limits.Pids", base, `limits.pids = 101`, []string{"101"}},
		{"Limits.Pids", ``, `limits.pids = 4096`, nil},
		{"Limits.Pids", ``, `limits.pids = 4097`, []string{"4097"}},
		{"Limits.CPUs", base, `limits.cpus = 1.5`, nil},
		{"Limits.CPUs", base, `limits.cpus = 2.5`, []string{"2.5"}},
		{"Limits.CPUs", ``, `limits.cpus = 64`, nil},
		{"Limits.Files", base, `limits.files = 1000`, nil},
		{"Limits.Files", base, `limits.files = 1001`, []string{"1001"}},
		{"Limits.Files", ``, `limits.files = 65537`, []string{"65537"}},
		{"Limits.Wall", base, `limits.wall = "60m"`, nil},
		{"Limits.Wall", base, `limits.wall = "61m"`, []string{"61m"}},
		{"Limits.Wall", ``, `limits.wall = "1000h"`, nil},

		{"Syscalls", base, `syscalls.groups = ["debug"]`, nil},
		{"Syscalls", base, `syscalls.groups = ["nested"]`, []string{"nested"}},
		{"Env.Pass", base, `env.pass = ["TERM"]`, nil},
		{"Env.Pass", base, `env.pass = ["AWS_*"]`, []string{"AWS_*"}},
		{"Env.Set", base, `env.set = { CI = "1" }`, nil},
		{"Env.Set", base, `env.set = { CI = "2", LD_PRELOAD = "\u001b[m" }`, []string{"CI=2", `LD_PRELOAD=\x1b[m`}},
	} {
		t.Run(c.key, func(t *testing.T) {
			b, err := Parse("base", []byte(c.base))
			if err != nil {
				t.Fatal(err)
			}
			p, err := Parse(ProjectFile, []byte(c.project))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range Widens(b, p) {
				got = append(got, i.Value)
				if i.Why == "" {
					t.Errorf("%s: no why", i.Value)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%s: %s", c.project, d)
			}
		})
	}
}

// TestAFullProjectWidensByEveryKeyButTheNarrowing holds the table against a profile that says everything.
func TestAFullProjectWidensByEveryKeyButTheNarrowing(t *testing.T) {
	var full Profile
	setAll(reflect.ValueOf(&full).Elem())
	full.Limits = Limits{Item{"9TiB", "x"}, Item{"99999", "x"}, Item{"9", "x"}, Item{"99999", "x"}, Item{"9h", "x"}}
	base := &Profile{Limits: Limits{CPUs: Item{"1", "b"}, Wall: Item{"1h", "b"}}}
	narrow := []string{"Name", "Description", "FS.Hide", "FS.Protect", "Net.Deny"}
	for _, w := range widenings() {
		if got := len(w.wider(base, &full)) > 0; got == slices.Contains(narrow, w.key) {
			t.Errorf("%s widens: %v", w.key, got)
		}
	}
	if got := Widens(&full, &full); len(got) != 4 { // match, extends and secrets, which a project may not have
		t.Error(got)
	}
	if got := Widens(base, nil); got != nil {
		t.Error(got)
	}
	if got := Widens(nil, &full); len(got) < 15 {
		t.Error(got)
	}
}
