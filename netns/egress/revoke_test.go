package egress

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// TestRevokeEndsWhatIsOpen: a stream, an upload, a WebSocket and a request without an answer end when their secret is revoked, on both
// sides; those of another secret, and of none, go on.
func TestRevokeEndsWhatIsOpen(t *testing.T) {
	type visit struct {
		path string
		gone chan struct{} // closed when the server has lost its client
	}
	visits := make(chan visit, 10)
	h := func(w http.ResponseWriter, r *http.Request) {
		v := visit{r.URL.Path, make(chan struct{})}
		defer close(v.gone)
		rc := http.NewResponseController(w)
		switch {
		case strings.HasSuffix(r.URL.Path, "socket"):
			c, rw, err := rc.Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi")
			visits <- v
			_, _ = io.Copy(io.Discard, rw)
			return
		case strings.HasSuffix(r.URL.Path, "upload"):
			visits <- v
			_, _ = io.Copy(io.Discard, r.Body)
			return
		case strings.HasSuffix(r.URL.Path, "stream"):
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = rc.Flush()
		}
		visits <- v
		<-r.Context().Done()
	}
	addr, ca := manyBackend(t, h, apiHost, "git.example.com")
	source := &changing{values: values{"api": apiReal, "git": gitReal}}
	j := newJail(t, []Rule{
		{Host: apiHost, Ports: []uint16{443}, Connect: addr, UpstreamCA: ca.PEM(), TLS: "inspect", Why: "test"},
		{Host: "git.example.com", Ports: []uint16{443}, Connect: addr, UpstreamCA: ca.PEM(), TLS: "inspect", Why: "test"},
	}, func(c *Config) {
		c.Policy.Secrets = []Secret{apiSecret("", true), gitSecret()}
		c.Secrets = source.get
	})
	type exchange struct {
		visit
		conn io.ReadWriteCloser
		read *bufio.Reader
	}
	open := func(host, path, token string) exchange {
		c := j.tls(host, 443)
		method, extra := "GET", ""
		switch path {
		case "/socket":
			extra = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
		case "/upload":
			method, extra = "POST", "Transfer-Encoding: chunked\r\n"
		}
		if token != "" {
			extra += "Authorization: Bearer " + token + "\r\n"
		}
		fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method, path, host, extra)
		e := exchange{conn: c, read: bufio.NewReader(c)}
		if path == "/upload" {
			_, _ = io.WriteString(c, "5\r\nhello\r\n")
		}
		e.visit = <-visits
		return e
	}
	paths := []string{"/stream", "/upload", "/silent", "/socket"}
	var ended, kept []exchange
	for _, path := range paths {
		ended = append(ended, open(apiHost, path, apiShown))
		kept = append(kept, open("git.example.com", path, gitShown), open(apiHost, path, ""))
	}
	source.set("api", "revoked")
	j.door.Revoke("api", "nobody's")
	for _, e := range ended {
		within(t, patience, e.path+" at the server", e.gone)
		over := make(chan struct{})
		go func() {
			defer close(over)
			switch e.path {
			case "/stream", "/socket":
				_, _ = io.Copy(io.Discard, e.read)
			default: // no answer had begun
				res, err := http.ReadResponse(e.read, nil)
				if err != nil || res.Header.Get("X-Agentjail-Reason") != string(Revoked) {
					t.Errorf("%s: %v %v", e.path, res, err)
				}
			}
			_ = e.conn.Close()
		}()
		within(t, patience, e.path+" at the client", over)
		j.wait(e.path, func(ev Event) bool { return ev.Kind == "http.deny" && ev.Reason == Revoked && ev.Path == e.path })
	}
	for _, e := range kept {
		select {
		case <-e.gone:
			t.Errorf("control: %s has ended", e.path)
		default:
		}
		_ = e.conn.Close()
	}
	forgotten := make(chan struct{})
	go func() { // the client has its answer before the door has done with the request
		g := j.door.vault.secrets[0]
		for left := 1; left > 0; runtime.Gosched() {
			g.mu.Lock()
			left = len(g.running)
			g.mu.Unlock()
		}
		close(forgotten)
	}()
	within(t, patience, "the errands' end", forgotten)
}
