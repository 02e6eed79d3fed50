package egress

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

const (
	realKey = "sk-test-0123456789abcdefREAL"
	fakeKey = "sk-test-AGENTJAILplaceholdr0"
)

// TestSecretPassesTheDoor: the value is at the real server and nowhere else; without the word "inspect" in any rule.
func TestSecretPassesTheDoor(t *testing.T) {
	var revoked atomic.Bool
	h := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "<"+r.Header.Get("X-Api-Key")+">")
		w.WriteHeader(103)
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%v %s", r.Header.Get("X-Api-Key") == realKey, body)
		io.WriteString(w, " echo: "+r.Header.Get("X-Api-Key"))
	}
	addr, ca := manyBackend(t, h, "good.example.com", "also.example.com")
	plain := backend(t, h)
	rule := func(host string) Rule {
		return Rule{Host: host, Ports: []uint16{443}, Connect: addr, UpstreamCA: ca.PEM(), Why: "test"}
	}
	also := rule("also.example.com")
	also.TLS = "inspect"
	j := newJail(t, []Rule{rule("good.example.com"), also, {Host: "good.example.com", Ports: []uint16{80}, Connect: plain, Why: "test"}}, func(c *Config) {
		c.Policy.Secrets = []Secret{{Name: "key", Placeholder: fakeKey, Hosts: []string{"good.example.com"}, Header: "x-api-key", Pin: true, Why: "test"}}
		c.Secrets = func(_ context.Context, name string) (string, error) {
			if name != "key" || revoked.Load() {
				return "", fmt.Errorf("%s: %w", name, ErrRevoked)
			}
			return realKey, nil
		}
	})
	post := func(version int, url, key, body string) (*http.Response, string) {
		req, err := http.NewRequest("POST", url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Api-Key", key)
		res, err := j.over(version).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, fmt.Sprint(res.Header, string(b))
	}
	bothVersions(t, func(t *testing.T, version int) {
		res, body := post(version, "https://good.example.com/", fakeKey, "hello")
		if res.StatusCode != 200 || !strings.Contains(body, "true hello echo: "+fakeKey) || strings.Contains(body, realKey) {
			t.Errorf("%s %s", res.Status, body)
		}
		res, _ = post(version, "https://good.example.com/", "sk-test-99999999another-key9", "")
		wantReason(t, res, 403, ForeignCredential)
		res, _ = post(version, "https://also.example.com/", fakeKey, "")
		wantReason(t, res, 403, PlaceholderLeak)
		res, _ = post(version, "https://also.example.com/", "x", "in the body: "+fakeKey)
		wantReason(t, res, 403, PlaceholderLeak)
		if res, _ := post(version, "https://also.example.com/", "x", "control"); res.StatusCode != 200 {
			t.Errorf("control: %s", res.Status)
		}
	})
	res, _ := post(1, "http://good.example.com/", fakeKey, "") // over clear text anybody would get it
	wantReason(t, res, 403, PlaceholderLeak)
	if e := j.wait("use", func(e Event) bool { return e.Kind == "secret.use" }); e.Secret != "key" || e.Host != "good.example.com" {
		t.Errorf("event: %+v", e)
	}
	j.wait("foreign", func(e Event) bool { return e.Kind == "secret.foreign" && e.Secret == "key" })
	revoked.Store(true)
	res, _ = post(2, "https://good.example.com/", fakeKey, "")
	wantReason(t, res, 403, Revoked)
	j.door.Close()
	if got, want := j.door.SecretReport(), []SecretCount{{"key", 2, 2}}; !slices.Equal(got, want) {
		t.Errorf("report %v; want %v", got, want)
	}
	for _, e := range j.events {
		if strings.Contains(fmt.Sprint(e), realKey) {
			t.Errorf("the value is in the event %+v", e)
		}
	}
}

// TestGatesAreAsked: the rule's Git and API are judged in the door.
func TestGatesAreAsked(t *testing.T) {
	var seen atomic.Int32
	addr, ca := manyBackend(t, func(w http.ResponseWriter, r *http.Request) { seen.Add(1) }, "git.example.com", "api.example.com")
	rule := Rule{Ports: []uint16{443}, Connect: addr, UpstreamCA: ca.PEM(), Why: "test"}
	git, api := rule, rule
	git.Host, git.Git = "git.example.com", "fetch"
	api.Host, api.API = "api.example.com", "anthropic"
	j := newJail(t, []Rule{git, api}, nil)
	bothVersions(t, func(t *testing.T, version int) {
		res, _ := get(t, j.over(version), "https://git.example.com/x.git/info/refs?service=git-receive-pack")
		wantReason(t, res, 403, GitPush)
		res, _ = get(t, j.over(version), "https://api.example.com/v1/files")
		wantReason(t, res, 403, ModelAPI)
		if res, _ := get(t, j.over(version), "https://git.example.com/x.git/info/refs?service=git-upload-pack"); res.StatusCode != 200 {
			t.Errorf("control, fetch: %s", res.Status)
		}
		if res, _ := get(t, j.over(version), "https://api.example.com/v1/models"); res.StatusCode != 200 {
			t.Errorf("control, models: %s", res.Status)
		}
	})
	if seen.Load() != 4 {
		t.Errorf("the server saw %d requests", seen.Load())
	}
}

// TestConnectionHidesNothing: a field that is taken out on the way, because Connection names it, is none to judge a request by.
func TestConnectionHidesNothing(t *testing.T) {
	var seen atomic.Int32
	addr, ca := manyBackend(t, func(w http.ResponseWriter, r *http.Request) { seen.Add(1) }, "git.example.com", "api.example.com")
	rule := Rule{Ports: []uint16{443}, Connect: addr, UpstreamCA: ca.PEM(), Why: "test"}
	git, api := rule, rule
	git.Host, git.Git = "git.example.com", "fetch"
	api.Host, api.API = "api.example.com", "anthropic"
	j := newJail(t, []Rule{git, api}, nil)
	client := j.over(1)
	passed := int32(0)
	for _, tc := range []struct {
		connection string
		ok         bool
	}{
		{"Content-Type", false}, {"keep-alive, content-TYPE", false}, {"Content-Encoding", false},
		{"Content-Length", false}, {"X-Own", false},
		{"", true}, {"keep-alive", true}, {"close", true}, {"TE, keep-alive", true}, {"X-Absent", true},
	} {
		for url, kind := range map[string]string{
			"https://git.example.com/r.git/git-upload-pack": "application/x-git-upload-pack-request",
			"https://api.example.com/v1/messages":           "application/json",
		} {
			req, err := http.NewRequest("POST", url, strings.NewReader(`{"model":"m","max_tokens":1,"messages":[]}`))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = http.Header{"Content-Type": {kind}, "Te": {"trailers"}, "X-Own": {"1"}}
			if tc.connection != "" {
				req.Header.Set("Connection", tc.connection)
			}
			if tc.connection == "Content-Encoding" {
				req.Header.Set("Content-Encoding", "identity")
			}
			res, err := client.Do(req)
			if err != nil {
				t.Fatalf("%q %s: %v", tc.connection, url, err)
			}
			if tc.ok {
				passed++
				if res.StatusCode != 200 {
					t.Errorf("%q %s: %s", tc.connection, url, res.Status)
				}
			} else {
				wantReason(t, res, 400, BadRequest)
			}
			res.Body.Close()
		}
	}
	if seen.Load() != passed {
		t.Errorf("the server saw %d requests, %d passed", seen.Load(), passed)
	}
}
