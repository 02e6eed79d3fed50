package egress

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// frame is one frame of a WebSocket client.
func frame(op byte, key [4]byte, text string) string {
	head := []byte{op, 0x80 | 127}
	switch n := len(text); {
	case n < 126:
		head[1] = 0x80 | byte(n)
	case n < 1<<16:
		head[1] = 0x80 | 126
		head = binary.BigEndian.AppendUint16(head, uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(head, uint64(n))
	}
	body := []byte(text)
	for i := range body {
		body[i] ^= key[i&3]
	}
	return string(head) + string(key[:]) + string(body)
}

const (
	wsText, wsMore, wsLast, wsBinary, wsPing = 0x81, 0x01, 0x80, 0x82, 0x89
)

func TestFrames(t *testing.T) {
	trip := newTripwire([]string{gitShown})
	key := [4]byte{1, 2, 3, 4}
	for name, tc := range map[string]struct {
		said  string
		found bool
	}{
		"text":                  {frame(wsText, key, "a "+gitShown), true},
		"binary":                {frame(wsBinary, key, strings.Repeat("a", 200)+gitShown), true},
		"long":                  {frame(wsBinary, key, string(noise(70<<10))+gitShown), true},
		"in a later frame":      {frame(wsText, key, "") + frame(wsText, [4]byte{9}, "x") + frame(wsText, key, gitShown), true},
		"fragments":             {frame(wsMore, key, gitShown[:10]) + frame(0, [4]byte{7, 7}, gitShown[10:20]) + frame(wsLast, [4]byte{}, gitShown[20:]), true},
		"fragments with a ping": {frame(wsMore, key, gitShown[:10]) + frame(wsPing, key, "ping") + frame(wsLast, key, gitShown[10:]), true},
		"ping":                  {frame(wsPing, key, gitShown), true},
		"no frames at all":      {"\x81\x00" + gitShown, true},
		"another's":             {frame(wsText, key, gitShown[:30]) + frame(wsText, key, "no"+gitShown[30:]), false},
		"nothing":               {frame(wsText, key, "hello") + frame(0x88, key, ""), false},
	} {
		for _, piece := range []int{1, 2, 3, 5, 1 << 20} {
			f := newFrames(func() *search { return trip.search(func(int) bool { return false }) })
			if got := feedPieces(f, tc.said, piece); got != tc.found {
				t.Errorf("%s in pieces of %d: found %v", name, piece, got)
			}
		}
	}
}

func feedPieces(f *frames, said string, piece int) bool {
	for len(said) > 0 {
		n := min(piece, len(said))
		if f.feed([]byte(said[:n])) >= 0 {
			return true
		}
		said = said[n:]
	}
	return false
}

// FuzzFrames: the pieces that something comes in make no difference.
func FuzzFrames(f *testing.F) {
	f.Add([]byte(frame(wsText, [4]byte{1, 2, 3, 4}, gitShown)), 3)
	f.Add([]byte(frame(wsMore, [4]byte{1}, gitShown[:9])+frame(wsPing, [4]byte{2}, "x")+frame(wsLast, [4]byte{3}, gitShown[9:])), 1)
	f.Add([]byte("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"+gitShown), 7)
	trip := newTripwire([]string{gitShown})
	f.Fuzz(func(t *testing.T, said []byte, piece int) {
		search := func() *search { return trip.search(func(int) bool { return false }) }
		before := string(said)
		whole, parts := newFrames(search).feed(said) >= 0, feedPieces(newFrames(search), string(said), 1+max(0, piece)%64)
		if whole != parts || string(said) != before {
			t.Fatalf("whole %v, in parts %v", whole, parts)
		}
		if strings.Contains(before, gitShown) && !whole {
			t.Fatal("not found as it is")
		}
	})
}

// TestWebSocketLeak: through the door, inspected and in clear text; what was agreed on has no compression.
func TestWebSocketLeak(t *testing.T) {
	got := make(chan string, 10)
	h := func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-Asked: %s\r\n\r\n", r.Header["Sec-Websocket-Extensions"])
		said, _ := io.ReadAll(io.TeeReader(rw, c))
		got <- string(said)
	}
	addr, ca := manyBackend(t, h, "good.example.com")
	clear := backend(t, h)
	secrets := func(c *Config) {
		c.Policy.Secrets = []Secret{{Name: "git", Placeholder: gitShown, Hosts: []string{"git.example.com"}, Why: "test"}}
		c.Secrets = func(context.Context, string) (string, error) { return gitReal, nil }
	}
	j := newJail(t, []Rule{
		{Host: "good.example.com", Ports: []uint16{443}, Connect: addr, UpstreamCA: ca.PEM(), TLS: "inspect", Why: "test"},
		{Host: "good.example.com", Ports: []uint16{80}, Connect: clear, Why: "test"},
	}, secrets)
	for _, port := range []uint16{443, 80} {
		for _, leaks := range []bool{false, true} {
			var c io.ReadWriteCloser
			if port == 443 {
				c = j.tls("good.example.com", port)
			} else {
				c = j.dial("good.example.com", port)
			}
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: good.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
			br := bufio.NewReader(c)
			res, err := http.ReadResponse(br, nil)
			if err != nil || res.StatusCode != 101 || res.Header.Get("X-Asked") != "[]" {
				t.Fatalf("%v %v", res, err)
			}
			text := "hello"
			if leaks {
				text = gitShown
			}
			said := frame(wsText, [4]byte{1, 2, 3, 4}, text)
			io.WriteString(c, said)
			if !leaks {
				if _, err := io.ReadFull(br, make([]byte, len(said))); err != nil {
					t.Errorf("control: %v", err)
				}
				c.Close()
				if back := <-got; back != said {
					t.Errorf("control: %q", back)
				}
				continue
			}
			if back := <-got; back != "" {
				t.Errorf("port %d: the server got %q", port, back)
			}
			c.Close()
			j.waitDeny(PlaceholderLeak)
		}
	}
}
