package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentjail/agentjail/netns/egress"
	"github.com/agentjail/agentjail/profiles"
)

const realKey = "sk-ant-api03-qwertyuiopasdfghjklzxcvbnm0123456789"

func secret(name string, change func(s *profiles.Secret)) profiles.Secret {
	s := profiles.Secret{Name: name, Env: "KEY", From: "env:KEY", Hosts: []string{"api.example.com"}, Pin: true, Why: "x.toml: secret[0]"}
	change(&s)
	return s
}

func same(*profiles.Secret) {}

// TestPlanSecrets: a secret whose value is there is planned by name, hosts and place, and the value is nowhere in the plan. Control
// of the last: without the secret a passed variable has it.
func TestPlanSecrets(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+`
/home/u/.x/auth.json = "{\"tokens\":{\"access\":\"`+realKey+`\",\"empty\":\"\",\"list\":[\"`+realKey+`\"]}}"
/home/u/.x/token = "`+realKey+`\n"
/home/u/bin/pass 0755
/home/u/p/pass 0755
/usr/bin/op 0755
`)
	h.Env = append(h.Env, "KEY="+realKey, "PATH=/home/u/p:/home/u/bin:/usr/bin")
	p := &profiles.Profile{Net: profiles.Net{Allow: items("--allow", "api.example.com")}}
	p.Env.Pass = items("--env", "KEY")
	p.Secrets = []profiles.Secret{
		secret("env", same),
		secret("file", func(s *profiles.Secret) {
			s.Env, s.File, s.Pointer, s.From = "", "~/.x/auth.json", "/tokens/access", "file:~/.x/auth.json"
		}),
		secret("listed", func(s *profiles.Secret) {
			s.Env, s.File, s.Pointer, s.From = "", "~/.x/auth.json", "/tokens/list/0", "file:~/.x/auth.json"
		}),
		secret("whole", func(s *profiles.Secret) { s.Env, s.From, s.TTL = "TOKEN", "file:/home/u/.x/token", "1h" }),
		secret("cmd", func(s *profiles.Secret) { s.Env, s.From = "FROM_CMD", "cmd:pass show x" }),
		secret("ring", func(s *profiles.Secret) { s.Env, s.From, s.Cache = "FROM_RING", "keyring:a/b", "1m" }),
		// What is not there.
		secret("unset", func(s *profiles.Secret) { s.Env, s.From = "UNSET", "env:UNSET" }),
		secret("no-file", func(s *profiles.Secret) { s.Env, s.From = "A", "file:/none" }),
		secret("no-place", func(s *profiles.Secret) { s.Env, s.From, s.Pointer = "B", "file:~/.x/auth.json", "/tokens/none" }),
		secret("no-text", func(s *profiles.Secret) { s.Env, s.From, s.Pointer = "C", "file:~/.x/auth.json", "/tokens/empty" }),
		secret("no-command", func(s *profiles.Secret) { s.Env, s.From = "D", "cmd:none" }),
		secret("built-in", func(s *profiles.Secret) { s.Env, s.From, s.Why = "E", "env:E", "built in: claude: secret[0]" }),
	}
	got := plan(t, h, p, Request{})
	byName := map[string]Secret{}
	for _, s := range got.Secrets {
		byName[s.Name] = s
	}
	if len(got.Secrets) != 6 {
		t.Fatalf("%d secrets: %+v", len(got.Secrets), got.Secrets)
	}
	if s := byName["file"]; s.File != "/home/u/.x/auth.json" || s.Copy != "/home/u/.x/auth.json" || s.From != "file:/home/u/.x/auth.json" || s.Why == "" {
		t.Errorf("%+v", s)
	}
	if s := byName["cmd"]; strings.Join(s.source.Argv, " ") != "/home/u/bin/pass show x" || s.Cache != 5*time.Minute {
		t.Errorf("the project's own program is asked: %v, %v", s.source.Argv, s.Cache)
	}
	if s := byName["whole"]; s.TTL != time.Hour {
		t.Error(s.TTL)
	}
	for _, name := range []string{"KEY", "TOKEN", "FROM_CMD", "FROM_RING"} {
		if v, ok := got.env(name); !ok || v != "" {
			t.Errorf("%s=%q, %v", name, v, ok)
		}
	}
	notes := strings.Join(got.Notes, "\n")
	for _, name := range []string{"unset", "no-file", "no-place", "no-text", "no-command"} {
		if !strings.Contains(notes, "secret "+name+" (") {
			t.Errorf("no note about %s in %s", name, notes)
		}
	}
	if strings.Contains(notes, "built-in") {
		t.Error("a note about what most people have not")
	}

	text := shown(t, got)
	if strings.Contains(text, realKey) || strings.Contains(text, realKey[20:]) {
		t.Error("the plan shows the value")
	}
	if !strings.Contains(text, "(placeholder of env)") || !strings.Contains(text, "env:KEY in $KEY to api.example.com pinned") {
		t.Error(text)
	}
	p.Secrets = nil
	if v, _ := plan(t, h, p, Request{}).env("KEY"); v != realKey {
		t.Error("control")
	}
}

// shown is a plan as people and scripts see it.
func shown(t *testing.T, p *Plan) string {
	t.Helper()
	var text strings.Builder
	if err := p.Print(&text); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return text.String() + string(body)
}

func TestRefusedSecrets(t *testing.T) {
	for _, c := range []struct {
		name    string
		secrets []profiles.Secret
		change  func(p *profiles.Profile, h *Host)
		say     string // "" when the plan comes to be
	}{
		{"control", []profiles.Secret{secret("a", same)}, nil, ""},
		{"asked for and unset", []profiles.Secret{secret("a", func(s *profiles.Secret) { s.From = "env:UNSET" })}, func(p *profiles.Profile, _ *Host) { p.Use = items("--secret", "a") }, "UNSET is not set"},
		{"asked for and there", []profiles.Secret{secret("a", same)}, func(p *profiles.Profile, _ *Host) { p.Use = items("--secret", "a") }, ""},
		{"the jail's own variable", []profiles.Secret{secret("a", func(s *profiles.Secret) { s.Env = "PATH" })}, nil, "own variable"},
		{"one variable twice", []profiles.Secret{secret("a", same), secret("b", same)}, nil, "one place"},
		{"a file that the jail sees", []profiles.Secret{secret("a", func(s *profiles.Secret) { s.From = "file:~/p/key" })}, nil, "visible in the jail"},
		{"a file that --ro shows", []profiles.Secret{secret("a", func(s *profiles.Secret) { s.From = "file:~/key" })}, func(p *profiles.Profile, _ *Host) { p.FS.Read = items("--ro", "/home/u/key") }, "visible in the jail"},
		{"a file of the home", []profiles.Secret{secret("a", func(s *profiles.Secret) { s.From = "file:~/key" })}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := user(t, "/home/u/p", repoAt("/home/u/p")+"/home/u/p/key = \"0123456789\"\n/home/u/key = \"0123456789\"\n")
			h.Env = append(h.Env, "KEY="+realKey)
			p := &profiles.Profile{Secrets: c.secrets}
			if c.change != nil {
				c.change(p, h)
			}
			_, err := NewPlan(p, Request{Argv: []string{"sh"}}, h)
			if c.say == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRefusal(t, err, c.say)
		})
	}
}

// TestNoNetworkNoSecrets: without a door nobody can use a value, so none is asked for.
func TestNoNetworkNoSecrets(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p"))
	h.Env = append(h.Env, "KEY="+realKey)
	p := &profiles.Profile{Secrets: []profiles.Secret{secret("a", same)}, Net: profiles.Net{Mode: profiles.Item{Value: "none", Why: "--net"}}}
	if got := plan(t, h, p, Request{}); len(got.Secrets) > 0 {
		t.Errorf("%+v", got.Secrets)
	}
}

func TestRulesAboutRequests(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p"))
	p := &profiles.Profile{Net: profiles.Net{Rules: []profiles.Rule{{Host: "api.example.com", TLS: "inspect", Methods: []string{"GET"}, Paths: []string{"/v1/*"}, Git: "push",
		PushRefs: []string{"agent/*"}, MaxRequest: "4MiB", MaxUpload: "1GB", API: "anthropic", ServerTools: []string{"web_search"}, Why: "x.toml: net.rule[0]"}}}}
	got := plan(t, h, p, Request{})
	r := got.Net.Policy.Allow[0]
	if r.TLS != "inspect" || r.Methods[0] != "GET" || r.Paths[0] != "/v1/*" || r.Git != "push" || r.PushRefs[0] != "agent/*" || r.MaxRequest != 4<<20 || r.MaxUpload != 1e9 ||
		r.API != "anthropic" || r.ServerTools[0] != "web_search" {
		t.Errorf("%+v", r)
	}
	if text := shown(t, got); !strings.Contains(text, "methods GET paths /v1/* git push push_refs agent/* max_request 4194304") {
		t.Error(text)
	}
}

// keep makes a keeper on this machine, of one secret with the given source.
func keep(t *testing.T, now func() time.Time, p *Plan, h *Host) *keeper {
	t.Helper()
	k, err := newKeeper(context.Background(), p, h, now)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func envPlan(change func(s *Secret)) (*Plan, *Host) {
	s := Secret{Name: "a", From: "env:KEY", Env: "KEY", Hosts: []string{"api.example.com"}, Why: "x", source: profiles.Source{Kind: "env", Name: "KEY"}}
	change(&s)
	return &Plan{Command: Command{Env: []Var{{Name: "KEY", Secret: "a"}, {Name: "X", Value: "y"}}}, Secrets: []Secret{s}}, &Host{Env: []string{"KEY=" + realKey}}
}

func TestKeeper(t *testing.T) {
	now := time.Unix(0, 0)
	p, h := envPlan(func(s *Secret) { s.TTL = time.Hour })
	k := keep(t, func() time.Time { return now }, p, h)
	shown := k.environ(p.Command.Env[0])
	if shown == "" || strings.Contains(shown, realKey[13:]) || !strings.HasPrefix(shown, "sk-ant-api03-") || len(shown) != len(realKey) {
		t.Errorf("the jail sees %q", shown)
	}
	if k.environ(p.Command.Env[1]) != "y" {
		t.Error("another variable is changed")
	}
	if s := k.policy(); len(s) != 1 || s[0].Placeholder != shown || strings.Contains(strings.Join(s[0].Hosts, ""), realKey) {
		t.Errorf("%+v", s)
	}
	ctx := context.Background()
	if v, err := k.value(ctx, "a"); v != realKey || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if _, err := k.value(ctx, "b"); err == nil {
		t.Error("a secret that nobody planned")
	}
	now = now.Add(time.Hour)
	if v, err := k.value(ctx, "a"); !errors.Is(err, egress.ErrRevoked) || v != "" {
		t.Errorf("after its time: %q, %v", v, err)
	}
	if again := keep(t, time.Now, p, h); again.environ(p.Command.Env[0]) == shown {
		t.Error("two sessions have one placeholder")
	}
}

func TestRevokeInTheKeeper(t *testing.T) {
	p, h := envPlan(func(*Secret) {})
	other := p.Secrets[0]
	other.Name, other.Env = "b", "B"
	p.Secrets = append(p.Secrets, other)
	k := keep(t, time.Now, p, h)
	var cut []string
	k.cutting(func(names ...string) {
		for _, name := range names {
			if _, err := k.value(context.Background(), name); !errors.Is(err, egress.ErrRevoked) {
				t.Errorf("%s is cut before it is refused: %v", name, err)
			}
		}
		cut = append(cut, names...)
	})
	if _, err := k.revoke("c"); err == nil {
		t.Error("an unknown name")
	}
	if names, err := k.revoke("a"); err != nil || len(names) != 1 || names[0] != "a" || !slices.Equal(cut, names) {
		t.Error(names, cut, err)
	}
	if _, err := k.value(context.Background(), "a"); !errors.Is(err, egress.ErrRevoked) {
		t.Error(err)
	}
	if v, err := k.value(context.Background(), "b"); v != realKey || err != nil { // control
		t.Error(err)
	}
	if names, err := k.revoke(""); err != nil || len(names) != 1 || names[0] != "b" {
		t.Error("what was left: ", names, err)
	}
	if names, err := k.revoke(""); err != nil || len(names) != 0 {
		t.Error(names, err)
	}
	if _, err := (*keeper)(nil).revoke(""); err == nil {
		t.Error("a session without secrets")
	}
}

// TestTTLCuts: when it is over, what is under way is told so by nobody but the clock.
func TestTTLCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, h := envPlan(func(s *Secret) { s.TTL = time.Hour })
		k := keep(t, time.Now, p, h)
		time.Sleep(time.Minute)
		var cut atomic.Value // the clock's goroutine and this one are in order, and the race detector does not see by what
		cut.Store("")
		k.cutting(func(names ...string) { cut.Store(names[0]) })
		time.Sleep(59*time.Minute - time.Nanosecond)
		synctest.Wait()
		if cut.Load() != "" {
			t.Error("control: cut before its time")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if _, err := k.value(t.Context(), "a"); cut.Load() != "a" || !errors.Is(err, egress.ErrRevoked) {
			t.Errorf("cut %q, %v", cut.Load(), err)
		}
	})
}

// TestAValueBesideItsPlaceholder: a key that the user passes in another way as well would make the placeholder a comfort and no wall.
func TestAValueBesideItsPlaceholder(t *testing.T) {
	for name, change := range map[string]func(p *Plan){
		"argument": func(p *Plan) { p.Command.Argv = []string{"x", "--key=" + realKey} },
		"variable": func(p *Plan) { p.Command.Env[1].Value = "Bearer " + realKey },
		"file":     func(p *Plan) { p.Mounts = []Mount{{Target: "/home/u/.netrc", Data: []byte("password " + realKey)}} },
		"nowhere":  func(*Plan) {},
	} {
		p, h := envPlan(func(*Secret) {})
		change(p)
		_, err := newKeeper(context.Background(), p, h, time.Now)
		if (err == nil) != (name == "nowhere") {
			t.Errorf("%s: %v", name, err)
		}
		e, ok := errors.AsType[*Error](err)
		if err != nil && (!ok || e.Step != StepSecrets || e.Hint == "" || strings.Contains(e.Error(), realKey[13:])) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnusableValues(t *testing.T) {
	for _, value := range []string{"", "k3y", "with\nline", "ünprintable…"} {
		p, h := envPlan(func(*Secret) {})
		h.Env = []string{"KEY=" + value}
		if _, err := newKeeper(context.Background(), p, h, time.Now); err == nil || value != "" && strings.Contains(err.Error(), value) {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// TestCredentialFile: two secrets of one file, and neighbours that nobody said belong into the jail.
func TestCredentialFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "auth.json")
	body := `{"oauth":{"accessToken":"` + realKey + `","refreshToken":"refresh-0123456789abcdef","expiresAt":1700000000000,"expires_at":1700000000,"number":12345678901234567890,"scopes":["a","b"],"kind":"max","deep":{"x":1}},` +
		`"others":{"accessToken":"other-0123456789abcdef"},"apiKey":"third-0123456789abcdef","tokenType":"Bearer","last":"2026","n":null}`
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	one := func(name, pointer string) Secret {
		return Secret{Name: name, From: "file:" + file, File: "/home/u/auth.json", Copy: file, Pointer: pointer, Why: "x", source: profiles.Source{Kind: "file", Name: file}}
	}
	k := keep(t, time.Now, &Plan{Secrets: []Secret{one("a", "/oauth/accessToken"), one("r", "/oauth/refreshToken")}}, &Host{})
	mounts, err := k.files()
	if err != nil || len(mounts) != 1 || mounts[0].Kind != KindFile || mounts[0].Mode != 0o600 || mounts[0].Target != "/home/u/auth.json" {
		t.Fatalf("%+v, %v", mounts, err)
	}
	got := string(mounts[0].Data)
	for _, bad := range []string{realKey, "refresh-0123", "other-", "third-", "deep", "others"} {
		if strings.Contains(got, bad) {
			t.Errorf("%s is in the copy: %s", bad, got)
		}
	}
	for _, good := range []string{k.secrets[0].placeholder, k.secrets[1].placeholder, "12345678901234567890", `"expiresAt": 4102444800000,`, `"expires_at": 4102444800,`, `"max"`, `"Bearer"`, `"2026"`, `"n": null`} {
		if !strings.Contains(got, good) {
			t.Errorf("%s is not in the copy: %s", good, got)
		}
	}
	if v, err := k.value(context.Background(), "a"); v != realKey || err != nil {
		t.Error(v, err)
	}
}

func TestLocate(t *testing.T) {
	for pointer, want := range map[string]string{"/a/b": "1", "/a~1b": "2", "/a~0b": "3", "/l/1": "5", "/l/1/x": "", "/l/01": "", "/l/-": "", "/l/2": "", "/none": "", "/a/b/c": "", "/~01": "6", "/": "7"} {
		got, err := pick([]byte(`{"a":{"b":"1"},"a/b":"2","a~b":"3","l":["4","5"],"~1":"6","":"7"}`), pointer)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", pointer, got, err)
		}
	}
}
