package egress

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// maxLeft is how much of a refused request's body is read for nothing.
const maxLeft = 64 << 20

// drain reads what the client still sends of a request that was answered already. Clients that write all before they read (python's
// http.client, libraries without threads) would otherwise meet a reset, which takes the answer away from them as well
// (RFC 9112 section 9.6). Streams of HTTP/2 end one by one, and what is over for the
// session ends at once.
func (w *web) drain(rw http.ResponseWriter, req *http.Request, body io.Reader, why *refusal) {
	if req.ProtoMajor != 1 || req.ContentLength == 0 || body == nil || why.say != nil || why.reason == Revoked || req.Header.Get("Expect") != "" {
		return
	}
	rc := http.NewResponseController(rw)
	if rc.Flush() != nil || rc.SetReadDeadline(time.Now().Add(w.door.limits.Explain/2)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, body, maxLeft) // whoever sends more, or more slowly, is cut off
}

// lent is a request's body for those who close what they have read. http.Server closes it itself, and drain may want the rest.
type lent struct {
	io.Reader
	closed atomic.Bool
}

func (l *lent) Read(p []byte) (int, error) {
	if l.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	return l.Reader.Read(p)
}

func (l *lent) Close() error {
	l.closed.Store(true)
	return nil
}
