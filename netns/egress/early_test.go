package egress

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestEarlyAnswerEndsTheConnection: what a client still sends of a request that is answered is never read for another request.
func TestEarlyAnswerEndsTheConnection(t *testing.T) {
	early := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "early")
		w.(http.Flusher).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
	}
	for name, dial := range map[string]func(t *testing.T) (*jail, net.Conn){
		"clear": func(t *testing.T) (*jail, net.Conn) {
			j := webJail(t, early, nil)
			return j, j.dial("good.example.com", 80)
		},
		"TLS": func(t *testing.T) (*jail, net.Conn) {
			j := inspectJail(t, early, nil)
			return j, j.tls("good.example.com", 443)
		},
	} {
		const chunks = "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
		for _, tc := range []struct{ begun, rest string }{
			{chunks, "5\r\nworld\r\n0\r\n\r\nGET /next HTTP/1.1\r\nHost: good.example.com\r\n\r\n"},
			{chunks, "36\r\nDELETE /evil HTTP/1.1\r\nHost: good.example.com\r\nA: b\r\n\r\n\r\n0\r\n\r\n"},
			{chunks, "GET /raw HTTP/1.1\r\nHost: other.example.com\n\n"},
			{"Content-Length: 60\r\n\r\nhello", "GET /evil HTTP/1.1\r\nHost: good.example.com\r\n\r\n"},
		} {
			t.Run(name, func(t *testing.T) {
				j, c := dial(t)
				fmt.Fprintf(c, "POST /first HTTP/1.1\r\nHost: good.example.com\r\n%s", tc.begun)
				_ = c.SetReadDeadline(time.Now().Add(patience))
				br := bufio.NewReader(c)
				if res, body := readAnswer(t, br, "POST"); res.StatusCode != 200 || body != "early" {
					t.Fatalf("%s %q", res.Status, body)
				}
				_, _ = io.WriteString(c, tc.rest) // the door may have ended already
				if more, err := io.ReadAll(br); err != nil || len(more) > 0 {
					t.Errorf("behind the answer: %q, %v", more, err)
				}
				c.Close()
				j.door.Close()
				j.mu.Lock()
				defer j.mu.Unlock()
				for _, e := range j.events {
					if strings.HasPrefix(e.Kind, "http.") && e.Path != "/first" || strings.HasSuffix(e.Kind, ".deny") {
						t.Errorf("event: %+v", e)
					}
				}
			})
		}
	}
}
