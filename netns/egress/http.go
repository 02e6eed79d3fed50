package egress

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"time"
)

// web is the HTTP half of the door: requests to port 80, requests to the proxy and requests that only get an explanation all end
// in its ServeHTTP, each judged by itself. Parsing, framing, 1xx, trailers and upgrades are net/http's, behind strict; reads of HTTP/1
// have ways of their own, which cost a quarter less: reader from the client, pass and exchange to the server.
type web struct {
	door      *Door
	server    *http.Server
	explainer *http.Server // of connections that are only told why, in clear text or TLS
	proxy     *httputil.ReverseProxy
	patient   *httputil.ReverseProxy // for requests without a body; see flushInterval
	http1     *http.Transport        // of clients that speak HTTP/1
	http2     *http.Transport        // of those that speak HTTP/2; the server may speak HTTP/1
	reads     *exchange              // of HTTP/1, what reads and has no body
	servers   pool
	bodies    buffers
	roots     roots
}

// flushInterval is how long a part of an answer whose length is known may wait for the next: a short one goes out in one piece, and not
// its head first, which took a goroutine and a TLS record more. Streams stay streams: ReverseProxy passes on what is of unknown length,
// and events, as they come. So does what answers a request with a body, be it early: of an answer in one piece with the end of its
// HTTP/2 stream curl 7.88 loses the body.
const flushInterval = time.Millisecond

func newWeb(d *Door) *web {
	w := &web{door: d}
	w.reads = newExchange(w)
	w.http1, w.http2 = w.transport(), w.transport()
	w.http2.Protocols.SetHTTP2(true) // where TLS agrees on it
	w.proxy = &httputil.ReverseProxy{
		Transport:      w,
		Rewrite:        rewrite,
		FlushInterval:  -1, // streams stay streams
		BufferPool:     &w.bodies,
		ModifyResponse: incoming,
		ErrorHandler:   w.failed,
		ErrorLog:       log.New(io.Discard, "", 0), // what went wrong is an event
	}
	patient := *w.proxy
	patient.FlushInterval = flushInterval
	w.patient = &patient
	w.server = &http.Server{
		Handler:                      w,
		ReadHeaderTimeout:            d.limits.Header,
		IdleTimeout:                  d.limits.Idle,
		MaxHeaderBytes:               maxHead,
		DisableGeneralOptionsHandler: true, // OPTIONS * is the real server's to answer
		ErrorLog:                     log.New(io.Discard, "", 0),
		TLSConfig:                    &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, // switches HTTP/2 on; each connection has its own
		HTTP2:                        &http.HTTP2Config{MaxConcurrentStreams: 128, MaxReceiveBufferPerConnection: 1 << 20, MaxReceiveBufferPerStream: 512 << 10, MaxReadFrameSize: 16 << 10},
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

// transport makes what carries requests to real servers. HTTP/1 of a client stays HTTP/1: one body is slower inside HTTP/2, whose
// frames and windows cost more than they give where nothing is to be sent beside it.
func (w *web) transport() *http.Transport {
	t := &http.Transport{
		DialContext:            w.dial,
		DialTLSContext:         w.dialTLS,
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerStream: 2 << 20, SendPingTimeout: 30 * time.Second},
		DisableCompression:     true, // Accept-Encoding is the client's business
		MaxIdleConns:           w.door.limits.PerHost,
		MaxResponseHeaderBytes: maxAnswerHead,
		MaxIdleConnsPerHost:    w.door.limits.PerHost, // as many as may be in use: a client that keeps its connections has them kept
		IdleConnTimeout:        keptFor,
		ExpectContinueTimeout:  time.Second, // then the body is sent unasked (RFC 9110 section 10.1.1); curl waits as long
		// No Proxy: the launcher's environment is not the jail's. No ResponseHeaderTimeout: a model may think for minutes.
	}
	t.Protocols.SetHTTP1(true)
	return t
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
	w.serveHTTP1(s)
	s.busy.Lock() // the last request has been written down
	defer s.busy.Unlock()
}

// serveHTTP1 serves what strict gives.
func (w *web) serveHTTP1(s *session) {
	c := plain{s.strict, s}
	if s.role == explaining || w.serveReads(s, c) {
		w.run(s, c)
	}
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
	s.shaken = true // nobody asks how it went
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
		s.linger.Store(0)
	} else {
		s.busy.RLock()
		defer s.busy.RUnlock()
	}
	s.met.Store(true)
	keepEscapes(req.URL)
	// Both directions at once, as on the wire: without it a server that answers before it has read everything stops.
	_ = http.NewResponseController(rw).EnableFullDuplex() // every HTTP/1 connection of net/http can
	t, why := w.judge(s, req)
	if s.said != nil {
		over, ok := s.said.stream(headSize(req))
		if ok {
			defer over()
		} else {
			why = s.target.refuse(Busy, errBudget.Error(), "")
		}
	}
	switch {
	case why != nil:
		w.deny(rw, req, s, why)
		w.drain(rw, req, req.Body, why)
	case req.Method == http.MethodConnect:
		w.connect(rw, req, s, t)
	default:
		w.forward(rw, req, s, t)
	}
	s.linger.Store(int64(w.door.limits.Explain / 2)) // what was broken off ends at once
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
	if req.ProtoMajor == 2 { // and all that a stream holds is free again
		_ = http.NewResponseController(rw).SetWriteDeadline(time.Now().Add(w.door.limits.Explain / 2))
	}
	answer(rw, req, w.door.profile, why)
}
