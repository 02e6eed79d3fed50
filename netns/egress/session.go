package egress

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// role is what a connection that speaks HTTP was opened for.
type role int

const (
	origin     role = iota // to one host: every request names it
	proxying               // to the proxy: every request names its own
	explaining             // to nothing: every request is told why
)

// session is one connection that speaks HTTP.
type session struct {
	ctx    context.Context // done when the door ends
	role   role
	sock   socket
	strict *strict // nil for HTTP/2, and behind TLS that only explains
	tls    *batch  // nil in clear text
	said   *bill   // for the heads of streams; nil for HTTP/1, where strict pays
	// target is the host of an origin connection; of an explaining one it has the port, and the host when TLS named it.
	target target
	why    *refusal // explaining: what every request is told; nil: its Host is judged

	shaken bool   // hands, with the client
	last   []byte // what it said last before that

	busy     sync.RWMutex // held in ServeHTTP, for writing where strict is: there it is called for one request after the other
	requests int          // seen by ServeHTTP where strict is
	met      atomic.Bool  // a request was seen
	linger   atomic.Int64 // nanoseconds that the client gets to take an answer which came before the end of its request
	ours     atomic.Bool  // it was the door that ended the connection
	gone     chan struct{}
	close    sync.Once
}

type sessionKey struct{}

// carrier is a connection that knows its session.
type carrier interface{ session() *session }

// plain carries a session in clear text, hidden one below TLS.
type (
	plain struct {
		*strict
		of *session
	}
	hidden struct {
		*replay
		of *session
	}
)

func (c plain) session() *session  { return c.of }
func (c hidden) session() *session { return c.of }
func (c hidden) Close() error      { return c.of.end() }

// Read notices when it is not the client that ends the connection.
func (c hidden) Read(p []byte) (int, error) {
	n, err := c.replay.Read(p)
	if !c.of.shaken {
		c.of.last = append(c.of.last, p[:n]...)
		c.of.last = append([]byte(nil), c.of.last[max(0, len(c.of.last)-alertSize):]...)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
		c.of.ours.Store(true)
	}
	return n, err
}

// Close ends TLS before the connection, so that the client can tell the end from a cut (RFC 8446 section 6.1). A client that still sends
// would meet a reset, which takes the answer away from it (RFC 9112 section 9.6): it is listened to for a while.
func (c plain) Close() error {
	if wait := time.Duration(c.of.linger.Load()); wait > 0 && c.over() && c.CloseWrite() == nil && c.SetReadDeadline(time.Now().Add(wait)) == nil {
		_, _ = io.CopyN(io.Discard, c.strict.Conn, maxLeft)
	}
	if c.of.tls != nil {
		return c.of.tls.Close() // and below it hidden
	}
	return c.of.end()
}

// CloseWrite passes the half-close of an upgraded connection on.
func (c plain) CloseWrite() error {
	if c.of.tls != nil {
		return c.of.tls.CloseWrite()
	}
	return c.of.sock.CloseWrite()
}

// end closes the connection and lets serve return.
func (s *session) end() error {
	err := s.sock.Close()
	s.close.Do(func() { close(s.gone) })
	return err
}

// single is a listener that gives one connection and ends when that connection does: http.Server's way of serving a connection
// that somebody else accepted.
type single struct {
	conn   chan net.Conn
	gone   <-chan struct{} // the connection was closed
	closed chan struct{}   // the listener was, by http.Server, which does so once
	addr   net.Addr
}

func (l *single) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.gone:
	case <-l.closed:
	}
	return nil, net.ErrClosed
}

func (l *single) Close() error {
	close(l.closed)
	return nil
}

func (l *single) Addr() net.Addr { return l.addr }

// replay is a connection whose first bytes were read before.
type replay struct {
	socket
	head []byte
	bill *bill // for more of them
}

func (r *replay) Read(p []byte) (int, error) {
	if len(r.head) > 0 {
		n := copy(p, r.head)
		r.head = r.head[n:]
		return n, nil
	}
	return r.socket.Read(p)
}

// metered pays for what is read: twice, for the records and for the message that is taken out of them.
type metered struct {
	*replay
	read int
}

func (m *metered) Read(p []byte) (int, error) {
	if !m.bill.hold(2 * (m.read + len(p))) {
		return 0, errBudget
	}
	n, err := m.replay.Read(p)
	m.read += n
	return n, err
}

// recorder sees the status of an answer and the end of HTTP on its connection.
type recorder struct {
	http.ResponseWriter
	of     *passage
	status int
	before int  // answers before the one that counts
	plain  bool // the client speaks HTTP/1.0
	asks   bool // the client waits with its body: net/http tells it to go on where the body is first read
}

// maxInformation is for a server that says every second for hours that it is still there (RFC 9110 section 15.2).
const maxInformation = 10_000

func (r *recorder) WriteHeader(status int) {
	if status >= 200 {
		r.status = status
		// net/http adds neither (Content-Type by sniffing) where the key is there: the answer is the real server's.
		for _, name := range []string{"Date", "Content-Type"} {
			if _, ok := r.Header()[name]; !ok {
				r.Header()[name] = nil
			}
		}
	} else if r.before++; r.before > maxInformation {
		why := r.of.target.refuse(BadResponse, "information without end", "")
		r.of.gauge.why.CompareAndSwap(nil, why)
		r.of.end(why)
		return
	} else if r.plain || r.asks && status == http.StatusContinue {
		return // RFC 9110 section 15.2; http.Transport reads the body before or after it tells of the server's 100
	} else if r.of.errand != nil {
		r.of.errand.scrubHeader(r.Header()) // ModifyResponse does not see these
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Hijack is called by ReverseProxy when the real server has answered 101.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(r.ResponseWriter).Hijack()
	if err == nil {
		r.status = http.StatusSwitchingProtocols
		r.of.session.strict.release()
		c = gaugedConn{c, r.of.gauge, r.of.errand}
	}
	return c, rw, err
}

// counted counts what goes through a connection to a real server.
type counted struct {
	socket
	breaks    *breaks
	sent, got atomic.Int64
	once      sync.Once
	done      func(sent, got int64)
	request   atomic.Value // <-chan struct{}: closed when the last request that it was given to is over or broken off
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.socket.Read(p)
	if n >= streamBytes {
		c.breaks.take()
	}
	c.got.Add(int64(n))
	return n, err
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.socket.Write(p)
	if n >= streamBytes {
		c.breaks.take()
	}
	c.sent.Add(int64(n))
	return n, err
}

// Close ends the connection, with RST when its request was broken off: a server in the middle of its answer need not care for FIN.
// An idle connection ends so, too; there is nothing on it that RST could destroy.
func (c *counted) Close() error {
	if over, ok := c.request.Load().(<-chan struct{}); ok {
		select {
		case <-over:
			_ = c.SetLinger(0)
		default:
		}
	}
	err := c.socket.Close()
	c.once.Do(func() { c.done(c.sent.Load(), c.got.Load()) })
	return err
}

// pool is the connections to real servers that http.Transport holds. Its own closing of them is its own affair, and done sometime.
type pool struct {
	mu    sync.Mutex
	conns map[*counted]struct{}
}

func (p *pool) add(c *counted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		p.conns = map[*counted]struct{}{}
	}
	p.conns[c] = struct{}{}
}

func (p *pool) remove(c *counted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// reset ends them all, and returns when each is counted.
func (p *pool) reset() {
	p.mu.Lock()
	left := slices.Collect(maps.Keys(p.conns))
	p.mu.Unlock()
	for _, c := range left {
		_ = c.SetLinger(0)
		_ = c.Close()
	}
}
