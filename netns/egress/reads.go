package egress

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"time"
)

// reader serves the requests of one connection of HTTP/1.1 that have no body and ask for no other protocol, one after the other and on
// the goroutine of the connection. http.Server reads on beside each, to learn when the client goes away: a goroutine, a read that finds
// nothing and two deadlines, a seventh of the processor time of a request. Here that begins when the answer takes long.
type reader struct {
	web     *web
	session *session
	conn    plain
	ctx     context.Context
	gone    func() // ends it: the client went away
	in      *bufio.Reader
	out     *bufio.Writer
}

// watchAfter is how long an answer may take before somebody looks whether its client is still there.
const watchAfter = 5 * time.Millisecond

// serveReads serves a connection until something comes that is for http.Server, which has it from then on, or until its end.
func (w *web) serveReads(s *session, c plain) (more bool) {
	r := &reader{web: w, session: s, conn: c, in: bufio.NewReader(nil), out: bufio.NewWriter(c)}
	r.ctx, r.gone = context.WithCancel(ofSession(s.ctx, c))
	defer r.gone()
	s.strict.room = make([]byte, 4096)
	defer func() { s.strict.room = nil }()
	for idle := time.Duration(0); ; idle = w.door.limits.Idle { // as http.Server does: the first head is not waited for
		head, err := s.strict.head(idle, w.door.limits.Header)
		if err != nil {
			break
		}
		req := r.parse(head)
		if req == nil {
			return true
		}
		s.strict.skip(len(head))
		if !r.serve(req) {
			break
		}
	}
	_ = c.Close()
	return false
}

// parse gives the request of a judged head, or nil when it is for http.Server.
func (r *reader) parse(head []byte) *http.Request {
	r.in.Reset(bytes.NewReader(head))
	req, err := http.ReadRequest(r.in)
	if err != nil || !carries(req) || req.ProtoMinor == 0 || req.Close {
		return nil
	}
	return req
}

// serve answers one request and says whether another may follow.
func (r *reader) serve(req *http.Request) (again bool) {
	defer r.watch()()
	a := &response{conn: r.conn, out: r.out, header: http.Header{}, headless: req.Method == http.MethodHead}
	defer func() { _ = recover() }() // of http.ErrAbortHandler: what was not sent is not sent, and again is false
	r.web.ServeHTTP(a, req.WithContext(r.ctx))
	return a.finish() == nil && !a.last
}

// watch ends the connection's requests when its client goes away before the answer comes. The function given back ends the watch, and
// waits where it has begun.
func (r *reader) watch() (stop func()) {
	done := make(chan struct{})
	begin := time.AfterFunc(watchAfter, func() {
		defer close(done)
		if r.session.strict.abandoned() {
			r.gone()
		}
	})
	return func() {
		if !begin.Stop() {
			_ = r.conn.SetReadDeadline(time.Unix(1, 0))
			<-done
		}
	}
}

// response is the http.ResponseWriter of a reader's request (RFC 9112 sections 6 and 7). A body of unknown length goes out in chunks.
type response struct {
	conn     plain
	out      *bufio.Writer
	header   http.Header
	headless bool           // no body follows, whatever the head says
	status   int            // 0: the answer has not begun
	left     int64          // bytes that Content-Length promises
	chunks   io.WriteCloser // where no length is known
	trailer  []string       // names that were announced
	last     bool           // nothing may follow on the connection
}

func (a *response) Header() http.Header { return a.header }

// WriteHeader writes a head. Errors come again when its bytes are sent.
func (a *response) WriteHeader(status int) {
	if a.status != 0 {
		return
	}
	_, _ = a.out.WriteString("HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) + "\r\n")
	if status < http.StatusOK {
		_ = a.header.WriteSubset(a.out, map[string]bool{"Content-Length": true}) // RFC 9110 section 8.6
		_, _ = a.out.WriteString("\r\n")
		_ = a.out.Flush()
		return
	}
	a.status = status
	a.last = a.header.Get("Connection") == "close"
	a.headless = a.headless || status == http.StatusNoContent || status == http.StatusNotModified
	length, err := strconv.ParseUint(a.header.Get("Content-Length"), 10, 63)
	switch {
	case a.headless:
	case err == nil:
		a.left = int64(length)
	default:
		a.header.Del("Content-Length") // there is none, or one that a placeholder has made another
		a.chunks = httputil.NewChunkedWriter(a.out)
		a.announced()
		_, _ = a.out.WriteString("Transfer-Encoding: chunked\r\n")
	}
	_ = a.header.Write(a.out)
	_, _ = a.out.WriteString("\r\n")
}

// announced notes which fields follow the body, too.
func (a *response) announced() {
	for _, line := range a.header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			a.trailer = append(a.trailer, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
}

func (a *response) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	switch {
	case a.headless:
		return len(p), nil
	case a.chunks != nil:
		return a.chunks.Write(p)
	case int64(len(p)) > a.left:
		return 0, http.ErrContentLength
	}
	a.left -= int64(len(p))
	return a.out.Write(p)
}

// FlushError, EnableFullDuplex and SetReadDeadline are what an http.ResponseController is asked for.
func (a *response) FlushError() error {
	a.WriteHeader(http.StatusOK)
	return a.out.Flush()
}

func (a *response) EnableFullDuplex() error           { return nil }
func (a *response) SetReadDeadline(t time.Time) error { return a.conn.SetReadDeadline(t) }

// finish sends what is left.
func (a *response) finish() error {
	a.WriteHeader(http.StatusOK)
	if a.chunks != nil {
		_ = a.chunks.Close()
		fields := http.Header{}
		for name, values := range a.header {
			if late, ok := strings.CutPrefix(name, http.TrailerPrefix); ok || slices.Contains(a.trailer, name) {
				fields[late] = append(fields[late], values...)
			}
		}
		_ = fields.Write(a.out)
		_, _ = a.out.WriteString("\r\n")
	}
	a.last = a.last || a.left > 0 // less than was said
	return a.out.Flush()
}
