package sandbox

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/agentjail/agentjail/profiles"
)

func TestEnvironment(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+"/usr/lib/jvm/j/\n/home/u/jdk/\n")
	h.Env = append(h.Env, "LC_ALL=C", "AWS_SECRET_ACCESS_KEY=s", "SSH_AUTH_SOCK=/run/x", "LD_PRELOAD=/x.so", "BASH_FUNC_f%%=() { :; }", "MY_A=1", "MY_B=2",
		"GIT_DIR=/x", "JAVA_HOME=/usr/lib/jvm/j", "GOROOT=/home/u/jdk", "PATH=/home/u/secret:/usr/bin:bin::/usr/bin:/bin", "SHELL=/home/u/evil")
	p := &profiles.Profile{}
	p.Env.Pass = append(items("a.toml: env.pass[0]", "MY_*", "NOT_THERE"), items("--env", "GIT_DIR", "HOME", "SSL_CERT_FILE")...)
	p.Env.Set = []profiles.EnvSet{{Name: "CI", Value: "1", Why: "--env"}, {Name: "MY_B", Value: "3", Why: "--env"}}
	got := plan(t, h, p, Request{})
	for name, want := range map[string]string{
		"HOME": "/home/u", "USER": "u", "LOGNAME": "u", "SHELL": "/bin/bash", "PATH": "/usr/bin:/bin", "PWD": "/home/u/p", "TMPDIR": "/tmp", "AGENTJAIL": "1",
		"TERM": "xterm", "LC_ALL": "C", "MY_A": "1", "MY_B": "3", "CI": "1", "GIT_DIR": "/x", "JAVA_HOME": "/usr/lib/jvm/j", "SSL_CERT_FILE": storeBundle,
		"NODE_EXTRA_CA_CERTS": storeSession, "XDG_RUNTIME_DIR": "/run/user/1000",
	} {
		if value, _ := got.env(name); value != want {
			t.Errorf("%s=%q, want %q", name, value, want)
		}
	}
	for _, name := range []string{"AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK", "LD_PRELOAD", "BASH_FUNC_f%%", "NOT_THERE", "GOROOT", "HTTP_PROXY"} {
		if value, ok := got.env(name); ok {
			t.Errorf("%s=%q is in the jail", name, value)
		}
	}
	if !slices.IsSortedFunc(got.Command.Env, func(a, b Var) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not sorted")
	}
	for _, v := range got.Command.Env {
		if v.Why == "" {
			t.Errorf("%s has no reason", v.Name)
		}
	}

	p.Env.Pass = items("--env", "*")
	got = plan(t, h, p, Request{})
	for name, want := range map[string]bool{"AWS_SECRET_ACCESS_KEY": true, "LD_PRELOAD": false, "SSH_AUTH_SOCK": false, "GIT_DIR": false} {
		if _, ok := got.env(name); ok != want {
			t.Errorf("with *: %s is there: %v, want %v", name, ok, want)
		}
	}
}

func TestProxyEnvironment(t *testing.T) {
	p := &profiles.Profile{}
	p.Net.ProxyEnv = profiles.Item{Value: "true", Why: "a.toml: net.proxy_env"}
	got := plan(t, user(t, "/home/u/p", repoAt("/home/u/p")), p, Request{})
	if v, _ := got.env("HTTPS_PROXY"); v != doorProxy {
		t.Errorf("HTTPS_PROXY=%q", v)
	}
	p.Net.Mode = profiles.Item{Value: "none", Why: "--net"}
	got = plan(t, user(t, "/home/u/p", repoAt("/home/u/p")), p, Request{})
	if v, ok := got.env("HTTPS_PROXY"); ok {
		t.Errorf("without a door HTTPS_PROXY=%q", v)
	}
}

// TestTrustStores has a company's CA in the environment and in npm's settings: each stays believed in the jail.
func TestTrustStores(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+`
/etc/ssl/certs/java/cacerts
/home/u/company.pem = "x"
/home/u/.npmrc = "cafile = \"/home/u/npm.pem\"\n"
/home/u/npm.pem
`)
	h.Env = append(h.Env, "SSL_CERT_FILE=/home/u/company.pem", "CURL_CA_BUNDLE=/home/u/company.pem", "PIP_CERT=/none", "REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt")
	got := plan(t, h, &profiles.Profile{}, Request{})
	want := []TrustStore{
		{Target: "/etc/ssl/certs/ca-certificates.crt", Source: "/etc/ssl/certs/ca-certificates.crt", Format: "pem"},
		{Target: "/etc/ssl/certs/java/cacerts", Source: "/etc/ssl/certs/java/cacerts", Format: "pkcs12"},
		{Target: storeBundle, Source: "/etc/ssl/certs/ca-certificates.crt", Format: "pem"},
		{Target: storeSession, Format: "pem"},
		{Target: storeDir + "/ssl_cert_file.pem", Source: "/home/u/company.pem", Format: "pem"},
		{Target: storeDir + "/npm.pem", Source: "/home/u/npm.pem", Format: "pem"},
	}
	for i := range got.Trust {
		got.Trust[i].Why = ""
	}
	if !slices.Equal(got.Trust, want) {
		t.Errorf("got  %+v\nwant %+v", got.Trust, want)
	}
	for name, want := range map[string]string{
		"SSL_CERT_FILE": storeDir + "/ssl_cert_file.pem", "CURL_CA_BUNDLE": storeDir + "/ssl_cert_file.pem", "PIP_CERT": storeBundle,
		"REQUESTS_CA_BUNDLE": storeBundle, "npm_config_cafile": storeDir + "/npm.pem",
	} {
		if v, _ := got.env(name); v != want {
			t.Errorf("%s=%s, want %s", name, v, want)
		}
	}
}

func TestNetworkRules(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+"/home/u/ca.pem = \"-----BEGIN CERTIFICATE-----\\n\"\n")
	p := &profiles.Profile{Name: "x"}
	p.Net.Rules = []profiles.Rule{{Host: "API.example.com.", Ports: []int{8443}, Private: true, Connect: "127.0.0.1:9443", UpstreamCA: "~/ca.pem", Why: "a.toml: net.rule[0]"}}
	p.Net.Deny = items("--deny", "gist.example.com")
	p.Net.Denied = profiles.Item{Value: "nxdomain", Why: "a.toml"}
	got := plan(t, h, p, Request{}).Net.Policy
	if len(got.Allow) != 1 || len(got.Deny) != 1 || got.Explain || got.Profile != "x" {
		t.Fatalf("policy %+v", got)
	}
	r := got.Allow[0]
	if r.Host != "api.example.com" || len(r.Ports) != 1 || r.Ports[0] != 8443 || !r.Private || r.Connect != "127.0.0.1:9443" || r.UpstreamCA == nil || r.Why == "" {
		t.Errorf("rule %+v", r)
	}
	if got.Deny[0].Ports != nil {
		t.Errorf("a deny without a port has ports %v", got.Deny[0].Ports)
	}
	empty := plan(t, h, &profiles.Profile{}, Request{}).Net
	if empty.Mode.Value != "door" || empty.Policy.Allow == nil || len(empty.Policy.Allow) != 0 || !empty.Policy.Explain {
		t.Errorf("nothing wished gives %+v", empty)
	}
}

func TestLimits(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p"))
	p := &profiles.Profile{}
	p.Limits.Memory = profiles.Item{Value: "1GiB", Why: "--limit"}
	p.Limits.Wall = profiles.Item{Value: "90s", Why: "--limit"}
	p.Limits.CPUs = profiles.Item{Value: "1.5", Why: "built in: ci.toml: limits.cpus"}
	got := plan(t, h, p, Request{})
	var text []string
	for _, l := range got.Limits {
		text = append(text, l.Name+" "+l.text())
		if want := l.Why == "--limit"; l.Explicit != want {
			t.Errorf("%s: explicit %v", l.Name, l.Explicit)
		}
	}
	if g, want := strings.Join(text, ", "), "memory 1073741824 bytes, pids 4096, cpus 1.5, files 65536, wall 1m30s"; g != want {
		t.Errorf("got  %s\nwant %s", g, want)
	}
	if m := got.mountAt(KindTmpfs, "/tmp"); m == nil || m.Size != 1<<28 {
		t.Errorf("/tmp is not sized by the limit: %+v", m)
	}
}

// TestPlanHidesSecrets: plans are pasted into issues.
func TestPlanHidesSecrets(t *testing.T) {
	h := user(t, "/home/u/p", repoAt("/home/u/p")+"/home/u/.tool = \"hunter2-file\"\n/home/u/p/\x1b[31mred\n")
	h.Env = append(h.Env, "API_KEY=hunter2-env")
	p := &profiles.Profile{}
	p.Env.Pass, p.FS.Copy = items("--env", "API_KEY"), items("--copy", "~/.tool")
	p.FS.Hide = items("--hide", "*red")
	got := plan(t, h, p, Request{Argv: []string{"sh", "-c", "echo \x1b[2J"}})
	var text strings.Builder
	if err := got.Print(&text); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{"text": text.String(), "json": string(data)} {
		if strings.Contains(s, "hunter2") || strings.Contains(s, "aHVudGVy") || strings.Contains(s, "\x1b") {
			t.Errorf("%s shows a secret or an escape:\n%s", name, s)
		}
	}
	if v, _ := got.env("API_KEY"); v != "hunter2-env" || string(got.mountAt(KindFile, "/home/u/.tool").Data) != "hunter2-file" {
		t.Error("showing the plan changed it")
	}
}
