package egress

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// exchange carries reads to real servers over HTTP/1, on the goroutine that asks. http.Transport has two more for each connection, which
// write and read beside each other, as a request with a body needs; for one without they are four hand-overs, an eighth of the time
// that the door takes. What is written and read is net/http's here as there. A connection that its server has closed is noticed when
// the next request would use it, or after wait.
type exchange struct {
	web  *web
	wait time.Duration // for the next request
	mu   sync.Mutex
	idle map[string][]*link // by scheme and authority, the last used last
	n    int                // of them, at most as many as may be in use for one host
}

// link is a connection to a real server for one request after the other.
type link struct {
	net.Conn
	key    string
	reader *bufio.Reader
	writer *bufio.Writer
	left   int64 // bytes that the head of the answer may still have
	heard  bool  // the server answers
	end    *time.Timer
}

// maxAnswerHead is four times what large servers send as the head of an answer, in bytes; Go's own limit is 10 MB.
const maxAnswerHead = 256 << 10

// keptFor is how long a connection to a real server waits for the next request.
const keptFor = 30 * time.Second

func newExchange(w *web) *exchange {
	return &exchange{web: w, wait: keptFor, idle: map[string][]*link{}}
}

// carries says whether a request is for exchange: one that can be sent again when a connection was closed by its server meanwhile
// (RFC 9110 section 9.2.2), and whose answer is not another protocol.
func carries(req *http.Request) bool {
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return req.ProtoMajor == 1 && (req.Body == nil || req.Body == http.NoBody) && req.Header["Upgrade"] == nil
	}
	return false
}

// RoundTrip sends a request of those that carries knows and gives the answer, whose body has to be closed. One that a kept connection
// took without a word is sent once more, on a new one: it may be what the server breaks down at.
func (x *exchange) RoundTrip(req *http.Request, p *passage) (*http.Response, error) {
	key := req.URL.Scheme + "://" + req.URL.Host
	if k := x.take(key); k != nil {
		res, err := x.try(k, req, p)
		if err == nil || k.heard || req.Context().Err() != nil {
			return res, err
		}
	}
	k, err := x.dial(key, req)
	if err != nil {
		return nil, err
	}
	return x.try(k, req, p)
}

// take gives a connection that waits, or nil.
func (x *exchange) take(key string) *link {
	for k := x.latest(key); k != nil; k = x.latest(key) {
		if k.end.Stop() && k.quiet() {
			return k
		}
		_ = k.Close()
	}
	return nil
}

func (x *exchange) dial(key string, req *http.Request) (*link, error) {
	dial := x.web.dial
	if req.URL.Scheme == "https" {
		dial = x.web.dialTLS
	}
	c, err := dial(req.Context(), "tcp", req.URL.Host)
	if err != nil {
		return nil, err
	}
	k := &link{Conn: c, key: key, writer: bufio.NewWriter(c)}
	k.reader = bufio.NewReader(headLimit{k})
	k.end = time.AfterFunc(x.wait, func() {
		x.remove(k)
		_ = k.Close()
	})
	k.end.Stop()
	return k, nil
}

// latest takes out the connection that was used last, or gives nil.
func (x *exchange) latest(key string) *link {
	x.mu.Lock()
	defer x.mu.Unlock()
	waiting := x.idle[key]
	if len(waiting) == 0 {
		return nil
	}
	k := waiting[len(waiting)-1]
	x.cut(key, len(waiting)-1)
	return k
}

func (x *exchange) remove(k *link) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if i := slices.Index(x.idle[k.key], k); i >= 0 {
		x.cut(k.key, i)
	}
}

func (x *exchange) cut(key string, i int) {
	x.idle[key] = slices.Delete(x.idle[key], i, i+1)
	x.n--
	if len(x.idle[key]) == 0 {
		delete(x.idle, key) // of names below a wildcard there is no end
	}
}

// give keeps a connection for the next request, if there is room.
func (x *exchange) give(k *link) (kept bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.n >= x.web.door.limits.PerHost {
		return false
	}
	x.idle[k.key] = append(x.idle[k.key], k)
	x.n++
	k.end.Reset(x.wait)
	return true
}

// close ends those that wait: their timers would keep all of the door.
func (x *exchange) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, waiting := range x.idle {
		for _, k := range waiting {
			k.end.Stop()
			_ = k.Close()
		}
	}
	x.n = 0
	clear(x.idle)
}

// try sends the request on one connection.
func (x *exchange) try(k *link, req *http.Request, p *passage) (*http.Response, error) {
	ctx := req.Context()
	below(k.Conn).request.Store(ctx.Done())
	stop := context.AfterFunc(ctx, func() { _ = k.Close() })
	k.heard = false
	res, err := k.ask(req, p.inform)
	if err != nil {
		stop()
		_ = k.Close()
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	k.left = math.MaxInt64
	p.whole = res.Body == http.NoBody || res.ContentLength >= 0 && res.ContentLength <= int64(k.reader.Buffered())
	a := &freeing{ReadCloser: res.Body, done: func(whole bool) {
		if !stop() || !whole || res.Close || !x.give(k) {
			_ = k.Close()
		}
	}}
	if res.Body == http.NoBody {
		a.over(true)
	} else {
		res.Body = a
	}
	return res, nil
}

// ask writes the request and reads the head of its answer.
func (k *link) ask(req *http.Request, inform func(status int, fields http.Header)) (*http.Response, error) {
	if err := req.Write(k.writer); err != nil {
		return nil, err
	}
	if err := k.writer.Flush(); err != nil {
		return nil, err
	}
	for {
		k.left = maxAnswerHead
		res, err := http.ReadResponse(k.reader, req)
		switch {
		case err != nil:
			return nil, err
		case res.StatusCode == http.StatusSwitchingProtocols:
			return nil, errors.New("101, and nobody asked for another protocol")
		case res.StatusCode >= http.StatusOK:
			return res, nil
		case res.StatusCode < http.StatusContinue:
			return nil, errors.New("status " + res.Status)
		}
		inform(res.StatusCode, res.Header)
		if req.Context().Err() != nil { // it was too much
			return nil, context.Cause(req.Context())
		}
	}
}

// quiet says whether the server has said nothing since its last answer, which would be taken for the next one, and has not closed.
func (k *link) quiet() bool {
	if b, ok := k.Conn.(*batch); ok && !b.quiet() {
		return false
	}
	return k.reader.Buffered() == 0 && silent(below(k.Conn))
}

// headLimit bounds the head of an answer.
type headLimit struct{ *link }

func (h headLimit) Read(p []byte) (int, error) {
	if h.left <= 0 {
		return 0, fmt.Errorf("the head of the answer has more than %d bytes", maxAnswerHead)
	}
	n, err := h.Conn.Read(p[:min(int64(len(p)), h.left)])
	h.left -= int64(n)
	h.heard = h.heard || n > 0
	return n, err
}

// freeing is the body of an answer, whose end frees the connection.
type freeing struct {
	io.ReadCloser
	once sync.Once
	done func(whole bool)
}

func (a *freeing) over(whole bool) { a.once.Do(func() { a.done(whole) }) }

func (a *freeing) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	if err != nil {
		a.over(err == io.EOF)
	}
	return n, err
}

func (a *freeing) Close() error {
	a.over(false) // and not ReadCloser.Close, which reads on
	return nil
}
