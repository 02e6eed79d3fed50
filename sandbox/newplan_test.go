package sandbox

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/agentjail/agentjail/profiles"
)

var update = flag.Bool("update", false, "write the plans of testdata/plan anew")

// TestGoldenPlans plans for the machines of testdata/plan. Each archive has "tree" and "host" (KEY VALUE lines), maybe "profile"
// (TOML), and "plan": the text, without the watched paths that are missing unless host says "watch all".
func TestGoldenPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/plan/*.txtar")
	if err != nil || len(files) < 7 {
		t.Fatalf("%d machines: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parts := make(map[string]string)
			for _, f := range archive.Files {
				parts[f.Name] = string(f.Data)
			}
			got := golden(t, parts)
			if got == parts["plan"] {
				return
			}
			if !*update {
				t.Fatalf("the plan changed (go test -run GoldenPlans -update):\n%s", got)
			}
			for i := range archive.Files {
				if archive.Files[i].Name == "plan" {
					archive.Files[i].Data = []byte(got)
				}
			}
			if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func golden(t *testing.T, parts map[string]string) string {
	h := user(t, "/", "")
	r := Request{}
	all := false
	var tree strings.Builder
	for line := range strings.Lines(parts["tree"]) {
		if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "repo "); ok {
			line = repoAt(dir)
		}
		tree.WriteString(line)
	}
	h.FS = memMachine(t, debian+tree.String())
	for line := range strings.Lines(parts["host"]) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "root":
			h.UID, h.GID, h.User, h.Home = 0, 0, "root", "/root"
			h.StateDir, h.ConfigDir = "/root/.local/state/agentjail", "/root/.config/agentjail"
			h.Env = append(h.Env, "HOME=/root")
		case "dir":
			h.Dir = value
		case "env":
			h.Env = append(h.Env, value)
		case "argv":
			r.Argv = strings.Fields(value)
		case "project":
			r.Project = value
		case "watch":
			all = true
		default:
			t.Fatalf("host: %q", line)
		}
	}
	p := &profiles.Profile{Name: "default"}
	if text, ok := parts["profile"]; ok {
		var err error
		if p, err = profiles.Parse("test.toml", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	got := plan(t, h, p, r)
	if !all {
		kept := got.Watch[:0]
		for _, w := range got.Watch {
			if w.Link != "" || w.Sum != "" {
				kept = append(kept, w)
			}
		}
		got.Watch = kept
	}
	var text strings.Builder
	if err := got.Print(&text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// TestPlanIsPure plans twice and gets the same, from a Host that is as it was. Files has no method that could change anything.
func TestPlanIsPure(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p"))
	before := *h
	before.Env = append([]string(nil), h.Env...)
	p := &profiles.Profile{Name: "default"}
	first, second := plan(t, h, p, Request{}), plan(t, h, p, Request{})
	if !reflect.DeepEqual(first, second) {
		t.Error("two plans of the same facts differ")
	}
	if !reflect.DeepEqual(*h, before) || !reflect.DeepEqual(p, &profiles.Profile{Name: "default"}) {
		t.Error("the plan changed what it was made from")
	}
}

// TestPlanCostIsFlat counts the questions that a plan asks: no more for a project of 5,000 directories than for one of 1,000.
func TestPlanCostIsFlat(t *testing.T) {
	cost := func(dirs int) int {
		var tree strings.Builder
		tree.WriteString(repoAt("/home/u/p"))
		for i := range dirs {
			fmt.Fprintf(&tree, "/home/u/p/d%05d/\n", i)
		}
		h := user(t, "/home/u/p", tree.String())
		plan(t, h, &profiles.Profile{Name: "default"}, Request{})
		return h.FS.(*memFiles).calls
	}
	few, some, many := cost(0), cost(1000), cost(5000)
	if some != many {
		t.Errorf("%d questions for 1,000 directories, %d for 5,000", some, many)
	}
	if few >= some || some > few+2*maxRepoReads { // each that is read is looked at first
		t.Errorf("%d questions for an empty project, %d for 1,000 directories", few, some)
	}
}

func TestRefusedFlags(t *testing.T) {
	wish := func(change func(p *profiles.Profile)) *profiles.Profile {
		p := &profiles.Profile{Name: "default"}
		change(p)
		return p
	}
	item := func(v string) profiles.Item { return profiles.Item{Value: v, Why: "--flag"} }
	for _, tt := range []struct {
		name string
		p    *profiles.Profile
		r    Request
		say  string
	}{
		{"tty", wish(func(*profiles.Profile) {}), Request{TTY: "maybe"}, "--tty"},
		{"wall", wish(func(*profiles.Profile) {}), Request{Degraded: []string{"everything"}}, "no such wall"},
		{"wall that always stands", wish(func(*profiles.Profile) {}), Request{Degraded: []string{"seccomp"}}, "always stands"},
		{"argv", wish(func(*profiles.Profile) {}), Request{Argv: []string{}}, "no command"},
		{"nul", wish(func(*profiles.Profile) {}), Request{Argv: []string{"sh", "a\x00b"}}, "NUL"},
		{"mode", wish(func(p *profiles.Profile) { p.Net.Mode = item("open") }), Request{}, "net mode"},
		{"denied", wish(func(p *profiles.Profile) { p.Net.Denied = item("drop") }), Request{}, "net.denied"},
		{"home", wish(func(p *profiles.Profile) { p.FS.Home = item("host") }), Request{}, "home"},
		{"bundle", wish(func(p *profiles.Profile) { p.Net.Allow = []profiles.Item{item("@npm")} }), Request{}, "expanded"},
		{"allow", wish(func(p *profiles.Profile) { p.Net.Allow = []profiles.Item{item("*")} }), Request{}, "every host"},
		{"deny", wish(func(p *profiles.Profile) { p.Net.Deny = []profiles.Item{item("a b")} }), Request{}, "a b"},
		{"port", wish(func(p *profiles.Profile) { p.Net.Rules = []profiles.Rule{{Host: "a.example.com", Ports: []int{70000}}} }), Request{}, "70000"},
		{"connect", wish(func(p *profiles.Profile) {
			p.Net.Rules = []profiles.Rule{{Host: "a.example.com", Connect: "localhost:1"}}
		}), Request{}, "IP:PORT"},
		{"ca", wish(func(p *profiles.Profile) {
			p.Net.Rules = []profiles.Rule{{Host: "a.example.com", UpstreamCA: "~/none.pem"}}
		}), Request{}, "none.pem"},
		{"ca text", wish(func(p *profiles.Profile) {
			p.Net.Rules = []profiles.Rule{{Host: "a.example.com", UpstreamCA: "~/.gitconfig"}}
		}), Request{}, "PEM"},
		{"limit", wish(func(p *profiles.Profile) { p.Limits.Memory = item("8G") }), Request{}, "memory"},
		{"env", wish(func(p *profiles.Profile) { p.Env.Pass = []profiles.Item{item("A=B")} }), Request{}, "A=B"},
		{"env set", wish(func(p *profiles.Profile) { p.Env.Set = []profiles.EnvSet{{Name: "1A", Value: "x"}} }), Request{}, "1A"},
		{"hide", wish(func(p *profiles.Profile) { p.FS.Hide = []profiles.Item{item("!.env")} }), Request{}, "hides nothing"},
		{"hide pattern", wish(func(p *profiles.Profile) { p.FS.Hide = []profiles.Item{item("[a")} }), Request{}, "pattern"},
		{"protect", wish(func(p *profiles.Profile) { p.FS.Protect = []profiles.Item{item("../q")} }), Request{}, "outside the project"},
		{"unprotect", wish(func(p *profiles.Profile) { p.FS.Unprotect = []profiles.Item{item("/etc")} }), Request{}, "outside the project"},
		{"copy", wish(func(p *profiles.Profile) { p.FS.Copy = []profiles.Item{item("/etc/shadow")} }), Request{}, "not in your home"},
		{"copy climbs", wish(func(p *profiles.Profile) { p.FS.Copy = []profiles.Item{item("~/../ci/x")} }), Request{}, "not in your home"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.r.Argv == nil {
				tt.r.Argv = []string{"sh"}
			}
			_, err := NewPlan(tt.p, tt.r, user(t, "/home/u/p", repoAt("/home/u/p")))
			wantRefusal(t, err, tt.say)
		})
	}
}
