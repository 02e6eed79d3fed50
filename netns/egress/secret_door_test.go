package egress

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// changing is a source whose values change in the middle of a session.
type changing struct {
	mu     sync.Mutex
	values values
}

func (c *changing) set(name, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[name] = value
}

func (c *changing) get(ctx context.Context, name string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values.get(ctx, name)
}

// wantSilence wants the value in no event so far.
func (j *jail) wantSilence(value string) {
	j.t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.events {
		if text, err := json.Marshal(e); err != nil || strings.Contains(string(text)+fmt.Sprintf("%+v", e), value) {
			j.t.Errorf("an event holds the value: %s", text)
		}
	}
}

// TestGitWithPlaceholder: git in the jail clones a private repository with a token that it does not have, until that is revoked.
func TestGitWithPlaceholder(t *testing.T) {
	source := &changing{values: values{"git": gitReal}}
	f := newForge(t, Rule{Git: "fetch"}, func(c *Config) {
		c.Policy.Secrets = []Secret{{Name: "git", Placeholder: gitShown, Hosts: []string{gitHost}, Pin: true, Why: "test"}}
		c.Secrets = source.get
	})
	f.token.Store(gitReal)
	clone := func(token string) (string, error) {
		return f.try("", "clone", "-q", "https://x-access-token:"+token+"@"+gitHost+"/repo.git", filepath.Join(t.TempDir(), "x"))
	}
	if out, err := clone(gitShown); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := clone("ghp_SomebodyElsesSomebodyElsesSomebodyEls"); err == nil || !strings.Contains(out, string(ForeignCredential)) {
		t.Errorf("another's token: %v\n%s", err, out)
	}
	f.waitDeny(ForeignCredential)
	source.set("git", "revoked")
	if out, err := clone(gitShown); err == nil || !strings.Contains(out, string(Revoked)) {
		t.Errorf("revoked: %v\n%s", err, out)
	}
	f.waitDeny(Revoked)
	const wrong = "ghp_WrongWrongWrongWrongWrongWrongWrongW" // the server's 401 has the Authorization in its body
	source.set("git", wrong)
	if out, err := clone(gitShown); err == nil || strings.Contains(out, wrong) || strings.Contains(out, basic("x-access-token:" + wrong)[6:]) {
		t.Errorf("refused by the server: %v\n%s", err, out)
	}
	f.wantSilence(wrong)
	f.wantSilence(gitReal)
}

// TestSecretThroughTheDoor: events of a stream arrive one by one with the value taken out, over HTTP/2.
func TestSecretThroughTheDoor(t *testing.T) {
	next := make(chan struct{})
	addr, ca := tlsBackend(t, apiHost, func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get("X-Api-Key")
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("X-Key", key)
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d %s\n\n", i, key)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	j := newJail(t, []Rule{{Host: apiHost, Ports: []uint16{443}, Connect: addr, UpstreamCA: ca.PEM(), Why: "test"}}, func(c *Config) {
		c.Policy.Secrets = []Secret{apiSecret("x-api-key", true)}
		c.Secrets = values{"api": apiReal}.get
	})
	req, err := http.NewRequest("GET", "https://"+apiHost+"/v1/stream?a=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Api-Key", apiShown)
	res, err := j.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || res.Header.Get("X-Key") != apiShown {
		t.Errorf("%s, %q", res.Proto, res.Header.Get("X-Key"))
	}
	for i := range 3 {
		want := fmt.Sprintf("data: %d %s\n\n", i, apiShown)
		buf := make([]byte, len(want))
		if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != want { // blocks when the door holds anything back
			t.Fatalf("%q, %v", buf, err)
		}
		next <- struct{}{}
	}
	if e := j.wait("use", func(e Event) bool { return e.Kind == "secret.use" }); e.Secret != "api" {
		t.Errorf("%+v", e)
	}
	j.wantSilence(apiReal)

	// Controls: what the server sees is the value, and another credential is refused before it sees anything.
	req.Header.Set("X-Api-Key", other)
	res, err = j.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	wantReason(t, res, 403, ForeignCredential)
	j.wantSilence(other)
}

// TestValueFromBeforeThroughTheDoor: the first answer of the secret's host, on both ports and before anything used the secret, holds the
// placeholder, in its body, in WebSocket frames and in what comes before the answer.
func TestValueFromBeforeThroughTheDoor(t *testing.T) {
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/socket" {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+said(wsText, gitReal))
				_ = c.Close()
			}
			return
		}
		w.Header().Set("Link", gitReal)
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "<"+gitReal+">")
	}
	secured, ca := manyBackend(t, h, "git.example.com")
	bare := backend(t, h)
	for _, port := range []uint16{80, 443} {
		for _, path := range []string{"/", "/socket"} {
			j := newJail(t, []Rule{
				{Host: "git.example.com", Ports: []uint16{443}, Connect: secured, UpstreamCA: ca.PEM(), Why: "test"},
				{Host: "git.example.com", Ports: []uint16{80}, Connect: bare, Why: "test"},
			}, func(c *Config) {
				c.Policy.Secrets = []Secret{gitSecret()}
				c.Secrets = values{"git": gitReal}.get
			})
			var c io.ReadWriteCloser
			if port == 443 {
				c = j.tls("git.example.com", port)
			} else {
				c = j.dial("git.example.com", port)
			}
			extra := "Connection: close\r\n"
			if path == "/socket" {
				extra = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
			}
			_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: git.example.com\r\n"+extra+"\r\n")
			got, err := io.ReadAll(c)
			_ = c.Close()
			if err != nil || strings.Contains(string(got), gitReal) || !strings.Contains(string(got), gitShown) {
				t.Errorf("%d %s: %q, %v", port, path, got, err)
			}
		}
	}
}
