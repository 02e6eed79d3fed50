package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"strings"
	"time"
)

// web is the HTTP half of the door: requests to port 80, requests to the proxy and requests that only get an explanation all end
// in its ServeHTTP, each judged by itself. Parsing, framing, 1xx, trailers and upgrades are net/http's, behind strict.
type web struct {
	door      *Door
	server    *http.Server
	explainer *http.Server // of connections that are only told why, in clear text or TLS
	proxy     *httputil.ReverseProxy
	transport *http.Transport
	servers   pool
}

func newWeb(d *Door) *web {
	w := &web{door: d}
	w.transport = &http.Transport{
		DialContext:            w.dial,
		Protocols:              new(http.Protocols),
		DisableCompression:     true, // Accept-Encoding is the client's business
		MaxIdleConns:           64,
		MaxResponseHeaderBytes: 256 << 10, // four times what large servers send, and not Go's 10 MB
		MaxIdleConnsPerHost:    8,
		IdleConnTimeout:        30 * time.Second,
		ExpectContinueTimeout:  time.Second, // then the body is sent unasked (RFC 9110 section 10.1.1); curl waits as long
		// No Proxy: the launcher's environment is not the jail's. No ResponseHeaderTimeout: a model may think for minutes.
	}
	w.transport.Protocols.SetHTTP1(true)
	w.proxy = &httputil.ReverseProxy{
		Transport:     w.transport,
		Rewrite:       rewrite,
		FlushInterval: -1, // streams stay streams
		ErrorHandler:  w.failed,
		ErrorLog:      log.New(io.Discard, "", 0), // what went wrong is an event
	}
	w.server = &http.Server{
		Handler:                      w,
		ReadHeaderTimeout:            d.limits.Header,
		IdleTimeout:                  d.limits.Idle,
		MaxHeaderBytes:               maxHead,
		DisableGeneralOptionsHandler: true, // OPTIONS * is the real server's to answer
		ErrorLog:                     log.New(io.Discard, "", 0),
		ConnContext:                  ofSession,
	}
	// An explanation is short, and so is all around it: a client that does not take it, or asks in a thousand streams, may not
	// make the door hold what it says.
	w.explainer = &http.Server{
		Handler:                      w,
		ReadTimeout:                  d.limits.Header,
		WriteTimeout:                 d.limits.Explain / 2,
		IdleTimeout:                  min(d.limits.Idle, d.limits.Explain/2),
		MaxHeaderBytes:               maxExplained,
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: 4, MaxReadFrameSize: 16 << 10},
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(io.Discard, "", 0),
		TLSConfig:                    &tls.Config{NextProtos: []string{"h2", "http/1.1"}},
		ConnContext:                  ofSession,
	}
	return w
}

// ofSession puts the connection's session into the context of its requests. They end with the session, not only with their
// connection: who waits for an answer looks at nothing else.
func ofSession(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	s := c.(carrier).session()
	kept := context.WithValue(s.ctx, http.ServerContextKey, ctx.Value(http.ServerContextKey))
	return context.WithValue(kept, sessionKey{}, s)
}

// serve serves HTTP on one connection until it is closed, also when it is hijacked in between, and closes it.
func (w *web) serve(s *session, before []byte) {
	said := &bill{of: &w.door.heads}
	defer said.close()
	limit := maxHead
	if s.role == explaining {
		limit = maxExplained
	}
	s.gone = make(chan struct{})
	s.strict = newStrict(s.sock, before, limit, said)
	w.run(s, plain{s.strict, s})
	s.busy.Lock() // the last request has been written down
	defer s.busy.Unlock()
}

func (w *web) run(s *session, c net.Conn) {
	l := &single{conn: make(chan net.Conn, 1), gone: s.gone, closed: make(chan struct{}), addr: s.sock.LocalAddr()}
	l.conn <- c
	server := w.server
	if s.role == explaining {
		if !w.door.explained.enter() {
			host := s.target.host
			if s.why != nil {
				host = s.why.host
			}
			w.door.busy(&w.door.explained, s.sock, host)
			return
		}
		defer w.door.explained.leave()
		defer time.AfterFunc(w.door.limits.Explain, func() { reset(s.sock) }).Stop()
		server = w.explainer
	}
	_ = server.Serve(l) // ends with the listener, which ends with its connection
	_ = s.end()
}

// serveTLS terminates TLS with leaves of the session's CA and explains, over HTTP/1.1 or HTTP/2.
func (w *web) serveTLS(s *session, hello []byte, leaf *tls.Certificate) {
	s.gone = make(chan struct{})
	w.run(s, tls.Server(hidden{&replay{socket: s.sock, head: hello}, s}, &tls.Config{
		Certificates: []tls.Certificate{*leaf},
		NextProtos:   []string{"h2", "http/1.1"},
		MinVersion:   tls.VersionTLS12,
	}))
}

// ServeHTTP judges one request and answers it or passes it on.
func (w *web) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	s := req.Context().Value(sessionKey{}).(*session)
	if s.strict != nil {
		s.busy.Lock()
		defer s.busy.Unlock()
		defer s.strict.answered()
		s.requests++
	}
	t, why := w.judge(s, req)
	switch {
	case why != nil:
		w.deny(rw, req, s, why)
	case req.Method == http.MethodConnect:
		w.connect(rw, req, s, t)
	default:
		w.forward(rw, req, s, t)
	}
}

// deny answers a request that is not passed on.
func (w *web) deny(rw http.ResponseWriter, req *http.Request, s *session, why *refusal) {
	if s.strict != nil || s.why == nil { // behind TLS the connection was the event
		q := why.asked
		if q == nil {
			q = &asked{req.Method, req.URL.EscapedPath()}
		}
		kind := "http.deny"
		if s.role == explaining || q.method == http.MethodConnect {
			kind = "net.deny"
		}
		e := why.event(kind)
		e.Method, e.Path, e.Status = q.method, q.path, why.reason.status()
		w.door.ledger.emit(e)
	}
	answer(rw, req, w.door.profile, why)
}

// passage is one request on its way: what ReverseProxy's call-backs need to know.
type passage struct {
	target  target
	session *session
	denied  bool // the denial was the event
}

type passageKey struct{}

// forward passes one request on and the answer back.
func (w *web) forward(rw http.ResponseWriter, req *http.Request, s *session, t target) {
	// Both directions at once, as on the wire: without it a server that answers before it has read everything stops.
	_ = http.NewResponseController(rw).EnableFullDuplex() // every HTTP/1 connection of net/http can
	rec := &recorder{ResponseWriter: rw, strict: s.strict}
	// net/http adds neither (Content-Type by sniffing) where the key is there: the answer is the real server's.
	rw.Header()["Date"], rw.Header()["Content-Type"] = nil, nil
	e := Event{Kind: "http.request", Host: t.host, Port: t.port, Method: req.Method, Path: req.URL.EscapedPath()}
	p := &passage{target: t, session: s}
	defer func() { // also when ReverseProxy panics with ErrAbortHandler because one side broke off
		if e.Status = rec.status; !p.denied {
			w.door.ledger.emit(e)
		}
	}()
	ctx := context.WithValue(req.Context(), passageKey{}, p)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { got.Conn.(*counted).request.Store(ctx.Done()) },
	})
	w.proxy.ServeHTTP(rec, req.WithContext(ctx))
}

// rewrite makes the outgoing request: to the judged target, and otherwise as it came. ReverseProxy has taken the hop-by-hop fields
// out (RFC 9110 section 7.6.1).
func rewrite(r *httputil.ProxyRequest) {
	t := r.In.Context().Value(passageKey{}).(*passage).target
	r.Out.URL.Scheme, r.Out.URL.Host = "http", t.String()
	r.Out.URL.RawQuery = r.In.URL.RawQuery // ReverseProxy drops what Go cannot parse
	r.Out.Host = t.host
	if t.port != httpPort {
		r.Out.Host = t.String()
	}
	// The door is not an intermediary that anybody should know of: what the client says about others before it stays, nothing is added.
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if v, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = v
		}
	}
	// WebSocket is the one protocol to change to: behind h2c a client could name another host in every stream.
	if up := r.Out.Header.Get("Upgrade"); up != "" && !strings.EqualFold(up, "websocket") {
		r.Out.Header.Del("Upgrade")
		r.Out.Header.Del("Connection")
	}
	r.Out.Header.Del("Http2-Settings")
	if len(r.In.TransferEncoding) > 0 {
		if r.In.Trailer == nil {
			r.In.Trailer = http.Header{} // trailers that were not announced
		}
		r.Out.Trailer = r.In.Trailer // filled when the body ends; Clone copied it before
	}
}

// failed answers a request whose upstream failed.
func (w *web) failed(rw http.ResponseWriter, req *http.Request, err error) {
	p := req.Context().Value(passageKey{}).(*passage)
	var why *refusal
	if a := p.session.strict.refusal(p.session.requests); a != nil {
		why = p.target.refuse(a.reason, a.detail, "") // the body broke the rules after the head had kept them
	} else if !errors.As(err, &why) {
		if req.Context().Err() != nil {
			panic(http.ErrAbortHandler) // the client is gone
		}
		why = p.target.refuse(BadResponse, err.Error(), "") // dial gives refusals: the server was reached
	}
	p.denied = true
	w.deny(rw, req, p.session, why)
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
	c := &counted{socket: up}
	c.done = func(sent, got int64) {
		w.door.closed(t, up, sent, got)
		w.servers.remove(c)
	}
	w.servers.add(c)
	return c, nil
}
