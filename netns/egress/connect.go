package egress

import (
	"errors"
	"io"
	"net/http"
)

// connect opens a CONNECT tunnel (RFC 9110 section 9.3.6) to a host that the policy allows. What the client then says in it is
// judged as on a connection to the host's own address: a tunnel to port 443 needs a ClientHello that names the host, one to port
// 80 requests that do. The real server is dialled before the client hears 200, so that a failure has a status to be told with.
func (w *web) connect(rw http.ResponseWriter, req *http.Request, s *session, t target) {
	var up socket
	if t.port != httpPort && !w.door.inspects(t) { // there a failure has a request of its own to be told to
		var err error
		if up, err = w.door.dialer.reach(req.Context(), t); err != nil {
			var why *refusal
			if !errors.As(err, &why) {
				panic(http.ErrAbortHandler) // the client is gone
			}
			w.deny(rw, req, s, why)
			return
		}
	}
	c, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		if up != nil {
			reset(up)
		}
		return
	}
	defer c.Close()
	// The tunnel uses the socket itself, so what was read ahead of it has to be collected.
	head, _ := io.ReadAll(io.LimitReader(buffered, int64(buffered.Reader.Buffered())))
	head = append(head, s.strict.left()...)
	if _, err := io.WriteString(s.sock, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		if up != nil {
			reset(up)
		}
		return
	}
	w.door.carry(s.ctx, s.sock, head, t, up)
}
