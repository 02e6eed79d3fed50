package egress

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestRefusalIsReadAfterAllWasSent: a client that writes its whole request before it reads gets the answer, wherever the request was
// refused: by its length, while it was sent, by its path, for its host.
func TestRefusalIsReadAfterAllWasSent(t *testing.T) {
	j := inspectJail(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }, func(r *Rule) {
		r.MaxRequest, r.Paths = 1000, []string{"/ok"}
	})
	const size = 24 << 20 // more than the buffers of both sides hold
	for _, tc := range []struct {
		name, host, path string
		chunked          bool
		want             int
		reason           Reason
	}{
		{"length", "good.example.com", "/ok", false, 413, Size},
		{"chunks", "good.example.com", "/ok", true, 413, Size},
		{"path", "good.example.com", "/other", false, 403, Path},
		{"host", "evil.example.com", "/ok", false, 403, NotAllowed},
	} {
		for _, port := range []uint16{80, 443} {
			if port == 80 && tc.chunked {
				continue // the backend speaks TLS
			}
			t.Run(fmt.Sprint(tc.name, " ", port), func(t *testing.T) {
				var c net.Conn
				if port == 443 {
					c = j.tls(tc.host, port, "http/1.1")
				} else {
					c = j.dial(tc.host, port)
				}
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Minute))
				head := fmt.Sprintf("Content-Length: %d\r\n\r\n", size)
				if tc.chunked {
					head = fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", size)
				}
				if _, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\n%s", tc.path, tc.host, head); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write(make([]byte, size)); err != nil {
					t.Fatalf("write: %v", err)
				}
				res, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil {
					t.Fatalf("read: %v", err)
				}
				defer res.Body.Close()
				if _, err := io.Copy(io.Discard, res.Body); err != nil {
					t.Error(err)
				}
				wantReason(t, res, tc.want, tc.reason)
			})
		}
	}
}
