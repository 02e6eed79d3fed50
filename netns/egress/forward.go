package egress

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"slices"
	"strings"
	"time"
)

// passage is one request on its way: what those who carry it need to know.
type passage struct {
	target  target
	session *session
	gauge   *gauge
	errand  *errand
	end     context.CancelCauseFunc              // ends the request
	judged  bool                                 // requests to this target are
	http2   bool                                 // is what the client speaks
	read    bool                                 // for exchange
	denied  *refusal                             // was the answer, and the event
	broken  error                                // how the server broke off an answer that had begun
	inform  func(status int, fields http.Header) // of a read: takes what comes before the answer
	whole   bool                                 // of a read: all of its answer is here
	changed io.Closer                            // the connection on which it speaks another protocol
}

type passageKey struct{}

// forward passes one request on and the answer back.
func (w *web) forward(rw http.ResponseWriter, req *http.Request, s *session, t target) {
	leave, why := w.door.meter.enter(t)
	if why != nil {
		w.deny(rw, req, s, why)
		return
	}
	defer leave()
	p := &passage{target: t, session: s, http2: req.ProtoMajor == 2, read: carries(req)}
	own := req.Body
	bodied := own != nil && own != http.NoBody
	defer func() {
		req.Body = own
		if p.denied != nil {
			w.drain(rw, req, own, p.denied)
		}
	}()
	if bodied {
		req.Body = &lent{Reader: own}
	}
	if p.denied = w.door.judgeRequest(p, req); p.denied != nil {
		w.deny(rw, req, s, p.denied)
		return
	}
	rec := &recorder{ResponseWriter: rw, of: p, plain: !req.ProtoAtLeast(1, 1), asks: bodied && req.Header["Expect"] != nil}
	e := Event{Kind: "http.request", Host: t.host, Port: t.port, Method: req.Method, Path: req.URL.EscapedPath()}
	whole := false
	defer func() { // also when the answer ends in a panic with ErrAbortHandler because one side broke off
		gone := req.Context().Err() != nil // the client, or the session
		if !whole {
			if p.broken != nil && !gone && rec.status >= http.StatusOK {
				_ = http.NewResponseController(rw).Flush() // what the server had said before it broke off
			}
			if !req.ProtoAtLeast(1, 1) {
				reset(s.sock) // the end of the connection would be the end of the answer
			}
			// net/http reads on for what is left of the request before it closes; the client may wait for the end of the answer.
			_ = http.NewResponseController(rw).SetReadDeadline(time.Unix(1, 0))
		} else if _, sized := rec.Header()["Content-Length"]; sized && s.strict != nil {
			_ = http.NewResponseController(rw).Flush() // whole, and nobody waits for the record
		}
		if p.errand != nil {
			p.errand.over()
		}
		if p.denied != nil {
			return
		}
		if why := p.cut(); why != nil { // when the answer had begun
			e.Kind, e.Reason, e.Detail = "http.deny", why.reason, why.detail
		} else if p.broken != nil && !gone {
			e.Kind, e.Reason, e.Detail = "http.deny", BadResponse, "in the body: "+p.clean(p.broken)
		}
		e.Status = rec.status
		w.door.ledger.emit(e)
	}()
	ctx, end := context.WithCancelCause(context.WithValue(req.Context(), passageKey{}, p))
	defer end(nil)
	p.end = end
	if s.strict != nil && bodied {
		defer unread(ctx, rw)()
	}
	if !p.read {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GotConn: func(got httptrace.GotConnInfo) { below(got.Conn).request.Store(ctx.Done()) },
		})
	}
	out := req.WithContext(ctx)
	switch {
	case p.read:
		w.pass(rec, out, p)
	case !bodied:
		w.patient.ServeHTTP(rec, out)
	default:
		w.proxy.ServeHTTP(rec, out)
	}
	if p.denied == nil && p.cut() != nil {
		panic(http.ErrAbortHandler) // the server took the cut for an end, and ended its answer well
	}
	whole = true
}

// unread ends the reading of a request's body with ctx: http.Transport gives up a request of HTTP/1 that was broken off only when
// nobody waits for more of its body. The function given back ends that, and waits where it has begun.
func unread(ctx context.Context, rw http.ResponseWriter) (stop func()) {
	begun := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(begun)
		_ = http.NewResponseController(rw).SetReadDeadline(time.Unix(1, 0))
	})
	return func() {
		if !cancel() {
			<-begun
		}
	}
}

// rewrite makes the outgoing request: to the judged target, and otherwise as it came. ReverseProxy has taken the hop-by-hop fields
// out (RFC 9110 section 7.6.1).
func rewrite(r *httputil.ProxyRequest) {
	p := r.In.Context().Value(passageKey{}).(*passage)
	p.address(r.Out)
	r.Out.URL.RawQuery = r.In.URL.RawQuery // ReverseProxy drops what Go cannot parse
	// The door is not an intermediary that anybody should know of: what the client says about others before it stays, nothing is added.
	if !p.judged {
		for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
			if v, ok := r.In.Header[name]; ok {
				r.Out.Header[name] = v
			}
		}
	}
	// WebSocket is the one protocol to change to: behind h2c a client could name another host in every stream. It begins with
	// GET (RFC 6455 section 4.1).
	if up := r.Out.Header.Get("Upgrade"); up != "" {
		if !strings.EqualFold(up, "websocket") || r.In.Method != http.MethodGet {
			r.Out.Header.Del("Upgrade")
			r.Out.Header.Del("Connection")
		}
	}
	r.Out.Header.Del("Http2-Settings")
	r.Out.Trailer = r.In.Trailer // filled when the body ends; Clone copied it before
}

// address sends a request to the judged target. Where requests are judged, nothing beside Host may say whom it is for.
func (p *passage) address(out *http.Request) {
	t := p.target
	out.URL.Scheme, out.URL.Host = p.session.scheme(), t.String()
	out.Host = t.host
	if t.port != p.session.standard() {
		out.Host = t.String()
	}
	for name := range out.Header {
		if p.judged && slices.Contains(hostOverrides(), spelled(name)) {
			delete(out.Header, name)
		}
	}
}

// failed answers a request whose upstream failed.
func (w *web) failed(rw http.ResponseWriter, req *http.Request, err error) {
	p := req.Context().Value(passageKey{}).(*passage)
	if p.changed != nil { // and to which nobody had asked: ReverseProxy says so, and leaves it open
		_ = p.changed.Close()
	}
	why := p.cut()
	cut := why != nil
	if !cut && !errors.As(err, &why) {
		if req.Context().Err() != nil {
			panic(http.ErrAbortHandler) // the client is gone
		}
		why = p.target.refuse(BadResponse, p.clean(err), "") // dial gives refusals: the server was reached
	}
	p.denied = why.late(cut)
	w.deny(rw, req, p.session, p.denied)
}

// clean gives what an error says without the secrets of the request: net/http quotes what it cannot read, and a server may echo.
func (p *passage) clean(err error) string {
	said := err.Error()
	if p.errand != nil {
		for _, g := range p.errand.own {
			said = g.remember("").text(said)
		}
	}
	return said
}

// dial is the Transport's: address is what rewrite wrote, so the passage of the request that asks for it has the rule.
func (w *web) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	t := ctx.Value(passageKey{}).(*passage).target
	ctx, cancel := w.door.both(ctx) // the Transport goes on dialling for a request that is gone, but not for a door that is
	defer cancel()
	up, err := w.door.dialer.reach(ctx, t)
	if err != nil {
		return nil, err
	}
	w.door.opened(t, up)
	c := &counted{socket: up, breaks: w.door.breaks}
	c.done = func(sent, got int64) {
		w.door.closed(t, up, sent, got)
		w.servers.remove(c)
	}
	w.servers.add(c)
	return c, nil
}

// below gives what dial gave, which has TLS above it for https.
func below(c net.Conn) *counted {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = t.NetConn().(*wire).Conn
	}
	return c.(*counted)
}
