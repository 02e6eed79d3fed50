package egress

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// meter bounds what requests cost: how many are on their way, in the session and to one host, and how much a rule lets them send.
type meter struct {
	requests, perHost int

	mu      sync.Mutex
	open    int
	hosts   map[string]int
	uploads map[*Rule]*atomic.Int64
}

func newMeter(l Limits) *meter {
	return &meter{requests: l.Requests, perHost: l.PerHost, hosts: map[string]int{}, uploads: map[*Rule]*atomic.Int64{}}
}

// enter counts one request on its way to the target until leave is called, or says that there are too many.
func (m *meter) enter(t target) (leave func(), why *refusal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.open >= m.requests:
		return nil, t.refuse(Busy, fmt.Sprintf("%d requests of the session under way", m.open), "")
	case m.hosts[t.host] >= m.perHost:
		return nil, t.refuse(Busy, fmt.Sprintf("%d requests to the host under way", m.hosts[t.host]), "")
	}
	m.open++
	m.hosts[t.host]++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.open--
		if m.hosts[t.host]--; m.hosts[t.host] == 0 {
			delete(m.hosts, t.host)
		}
	}, nil
}

// sent gives the counter of what the session has sent under a rule.
func (m *meter) sent(r *Rule) *atomic.Int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.uploads[r]
	if n == nil {
		n = new(atomic.Int64)
		m.uploads[r] = n
	}
	return n
}

// gauge counts what one request sends, against MaxRequest and MaxUpload of its rule. It sees every byte that the client gives away
// before anything is done with it: the body, and what follows an upgrade. MaxUpload counts heads as well: a query string leaks as
// well as a body does.
type gauge struct {
	rule    *Rule
	total   *atomic.Int64 // of the rule; nil: MaxUpload is not set
	own     atomic.Int64
	trailer http.Header // of the request, filled when its body ends
	ended   atomic.Bool
	why     atomic.Pointer[refusal] // set when a bound was passed
}

// gauge gives the gauge of one request, or why its head alone is too much already.
func (m *meter) gauge(t target, req *http.Request) (*gauge, *refusal) {
	if req.Trailer == nil && len(req.TransferEncoding) > 0 {
		req.Trailer = http.Header{} // for those that were not announced: every copy of the request has this map
	}
	g := &gauge{rule: t.rule, trailer: req.Trailer}
	if t.rule.MaxUpload > 0 {
		g.total = m.sent(t.rule)
		g.total.Add(headSize(req))
	}
	if req.ContentLength > 0 {
		return g, g.judge(req.ContentLength)
	}
	return g, g.judge(0)
}

// headSize is about what a request's head has on the wire.
func headSize(req *http.Request) int64 {
	return int64(len(req.Method)+len(req.RequestURI)) + fieldsSize(req.Header)
}

func fieldsSize(fields http.Header) int64 {
	n := 0
	for name, values := range fields {
		for _, v := range values {
			n += len(name) + len(v) + len(": \r\n")
		}
	}
	return int64(n)
}

// judge says whether more bytes would pass a bound.
func (g *gauge) judge(more int64) *refusal {
	if limit := g.rule.MaxRequest; limit > 0 && more > limit-g.own.Load() {
		return &refusal{reason: Size, detail: "request body", fix: fmt.Sprintf("it allows %d bytes a request (max_request)", limit)}
	}
	if g.total != nil && more > g.rule.MaxUpload-g.total.Load() {
		return &refusal{reason: Size, detail: "uploads of the session", fix: fmt.Sprintf("it allows %d bytes a session (max_upload)", g.rule.MaxUpload)}
	}
	return nil
}

// take counts bytes, or gives why they are too many. After that every further one is.
func (g *gauge) take(n int) error {
	if n > 0 && g.why.Load() == nil {
		if why := g.judge(int64(n)); why != nil {
			g.why.Store(why)
		}
		g.own.Add(int64(n))
		if g.total != nil {
			g.total.Add(int64(n))
		}
	}
	if why := g.why.Load(); why != nil {
		return why
	}
	return nil
}

// end counts the trailers and judges them, or gives why they are not to be sent on.
func (g *gauge) end() error {
	if g.ended.Swap(true) {
		return g.take(0)
	}
	if why := g.rule.judgeTrailer(g.trailer); why != nil {
		g.why.CompareAndSwap(nil, why)
		return why
	}
	return g.take(int(fieldsSize(g.trailer)))
}

// gaugedConn is an upgraded connection to the client: what it sends belongs to the request.
type gaugedConn struct {
	net.Conn
	gauge  *gauge
	errand *errand
}

func (c gaugedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if why := c.gauge.take(n); why != nil {
		return 0, why
	}
	if why := c.errand.frame(p[:n]); why != nil {
		return 0, why
	}
	return n, err
}

// CloseWrite passes the half-close on.
func (c gaugedConn) CloseWrite() error { return c.Conn.(plain).CloseWrite() }

// gauged is a body that is cut where its gauge says so. Its end is where net/http has filled Request.Trailer.
type gauged struct {
	io.ReadCloser
	gauge *gauge
}

func (b gauged) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if why := b.gauge.take(n); why != nil {
		return 0, why
	}
	if err == io.EOF {
		if why := b.gauge.end(); why != nil {
			return 0, why
		}
	}
	return n, err
}
