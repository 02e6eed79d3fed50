package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// mix is what a client in a jail does all day, an act of each kind in turn.
type mix struct {
	next         atomic.Int64
	one, two     *http.Client // kept connections, HTTP/1 and HTTP/2
	fresh        *http.Client // none: the door ends one that it explains something on after a while, whatever is being said
	tunnel, seen *loadClient
}

func newMix() *mix {
	return &mix{
		one:    &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 2}},
		two:    &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 2, ForceAttemptHTTP2: true}},
		fresh:  &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}},
		tunnel: &loadClient{url: "https://tunnel.example", connect: "-"},
		seen:   &loadClient{url: "https://inspect.example", connect: "-"},
	}
}

// act does the next one.
func (m *mix) act() error {
	const piece = 1 << 20
	acts := []struct {
		name string
		do   func() error
	}{
		{"kept, tunnel", func() error { return wantStatus(m.one, "https://tunnel.example/small", http.StatusOK) }},
		{"kept, inspected", func() error { return wantStatus(m.one, "https://inspect.example/small", http.StatusOK) }},
		{"kept, HTTP/2", func() error { return wantStatus(m.two, "https://inspect.example/small", http.StatusOK) }},
		{"new, tunnel", func() error { return closed(page("tunnel.example")) }},
		{"new, inspected", func() error { return closed(page("inspect.example")) }},
		{"down, tunnel", func() error { return moved(m.tunnel, "down", piece) }},
		{"down, inspected", func() error { return moved(m.seen, "down", piece) }},
		{"up, tunnel", func() error { return moved(m.tunnel, "up", piece) }},
		{"up, inspected", func() error { return moved(m.seen, "up", piece) }},
		{"events", m.events},
		{"WebSocket", socketed},
		{"broken off", m.brokenOff},
		{"half-close", repeat},
		{"reset", resetByClient},
		{"names", bothNames},
		{"refused, HTTP", func() error { return wantStatus(m.fresh, "http://refused.example/", http.StatusForbidden) }},
		{"refused, TLS", func() error { return wantStatus(m.fresh, "https://refused.example/", http.StatusForbidden) }},
		{"git", func() error { return exec.Command("git", "ls-remote", "https://git.example/git/hello.git").Run() }},
	}
	a := acts[int(m.next.Add(1))%len(acts)]
	if err := a.do(); err != nil {
		return fmt.Errorf("%s: %w", a.name, err)
	}
	return nil
}

func wantStatus(c *http.Client, url string, status int) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != status {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func closed(c net.Conn, err error) error {
	if err != nil {
		return err
	}
	return c.Close()
}

func moved(c *loadClient, way string, size int) error {
	_, err := c.measure(way, []int{size})
	return err
}

// events reads the first of a stream and leaves.
func (m *mix) events() error {
	resp, err := m.one.Get("https://inspect.example/sse")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); line != "data: first\n" {
		return fmt.Errorf("%q, %w", line, err)
	}
	return nil
}

// brokenOff leaves in the middle of an answer.
func (m *mix) brokenOff() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "https://inspect.example/down?n=100000000", nil)
	if err != nil {
		return err
	}
	resp, err := m.one.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.CopyN(io.Discard, resp.Body, 100_000)
	return err
}

// socketed sends one message by WebSocket (RFC 6455) and reads it again.
func socketed() error {
	c, err := tls.Dial("tcp4", "inspect.example:443", nil)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(c, "GET /ws HTTP/1.1\r\nHost: inspect.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("%v, %w", resp, err)
	}
	const word = "a message"
	if _, err := c.Write(append([]byte{0x81, 0x80 | byte(len(word)), 0, 0, 0, 0}, word...)); err != nil { // text, masked by zeros
		return err
	}
	got := make([]byte, 2+len(word))
	if _, err := io.ReadFull(r, got); err != nil || string(got[2:]) != word {
		return fmt.Errorf("%q, %w", got, err)
	}
	return nil
}

// sendBack is socketed's server.
func sendBack(rw http.ResponseWriter, r *http.Request) {
	c, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	defer c.Close()
	fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	head := make([]byte, 6)
	for {
		if _, err := io.ReadFull(buffered, head); err != nil {
			return
		}
		body := make([]byte, head[1]&0x7f)
		if _, err := io.ReadFull(buffered, body); err != nil {
			return
		}
		for i := range body {
			body[i] ^= head[2+i%4]
		}
		c.Write(append([]byte{head[0], byte(len(body))}, body...))
	}
}

func resetByClient() error {
	c, err := net.Dial("tcp4", "echo.example:7")
	if err != nil {
		return err
	}
	if _, err := io.WriteString(c, strings.Repeat("a word ", 1000)); err != nil {
		return errors.Join(err, c.Close())
	}
	return errors.Join(c.(*net.TCPConn).SetLinger(0), c.Close())
}

// bothNames asks for one that is allowed and for one that is not; the answer for that leads to an explanation.
func bothNames() error {
	for _, name := range []string{"tunnel.example", "refused.example"} {
		if all, err := (&net.Resolver{PreferGo: true}).LookupHost(context.Background(), name); err != nil || len(all) == 0 {
			return fmt.Errorf("%s: %q, %w", name, all, err)
		}
	}
	return nil
}

// mixServer is a crowdServer with a git server beside it.
func mixServer(t *testing.T) string {
	w, err := web()
	if err != nil {
		t.Fatal(err)
	}
	return crowdServer(t) + fmt.Sprintf("[[net.rule]]\nhost = \"git.example\"\ntls = \"inspect\"\nconnect = %q\nupstream_ca = %q\n", w.HTTPS, w.CAFile)
}

// TestMix: what the soak does for minutes, each act a few times.
func TestMix(t *testing.T) {
	j := startCrowd(t, benchProject(t, mixServer(t)))
	j.do("mix 90")
	j.end()
}
