package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	real1  = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal"
	false1 = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfalse"
)

// keptJail is a jail and how its client reads, where the real server has act answer on each connection: the how manieth it is, and a first
// request was read.
func keptJail(t *testing.T, way int, act func(n int, c net.Conn)) (*jail, func() (int, string)) {
	t.Helper()
	var conns atomic.Int32
	m := newMisbehaving(t, ways[way].alpn, func(c net.Conn) { act(int(conns.Add(1)), c) })
	j := chaosJail(t, m, ways[way].tls, nil)
	client := j.over(1)
	return j, func() (int, string) {
		t.Helper()
		res, body := get(t, client, ways[way].scheme+"://good.example.com/a")
		return res.StatusCode, body
	}
}

// keptWays runs act for clear text and for TLS.
func keptWays(t *testing.T, act func(t *testing.T, way int)) {
	for way := range ways[:2] {
		t.Run(ways[way].name, func(t *testing.T) { act(t, way) })
	}
}

// TestReadsAreSentAgain: a server may close a kept connection in the moment in which a request is on its way, and a read that had no
// answer is sent once more. A first request is not, nor one whose answer had begun.
func TestReadsAreSentAgain(t *testing.T) {
	keptWays(t, func(t *testing.T, way int) {
		j, ask := keptJail(t, way, func(n int, c net.Conn) {
			io.WriteString(c, real1)
			heardNothing(c)
		})
		for range 3 {
			if status, body := ask(); status != 200 || body != "real" {
				t.Fatalf("%d %q", status, body)
			}
		}
		if n := j.opened(); n != 3 {
			t.Errorf("%d connections", n)
		}
	})
	keptWays(t, func(t *testing.T, way int) {
		j, ask := keptJail(t, way, func(n int, c net.Conn) {
			io.WriteString(c, real1)
			heardNothing(c)
			io.WriteString(c, real1[:20])
		})
		ask()
		if status, _ := ask(); status != 502 || j.opened() != 1 {
			t.Errorf("%d, %d connections", status, j.opened())
		}
	})
	keptWays(t, func(t *testing.T, way int) {
		j, ask := keptJail(t, way, func(n int, c net.Conn) {})
		if status, _ := ask(); status != 502 || j.opened() != 1 {
			t.Errorf("%d, %d connections", status, j.opened())
		}
	})
}

// TestSentAgainOnce: on a new connection, however many wait: the request may be what the server breaks down at.
func TestSentAgainOnce(t *testing.T) {
	const clients = 5
	keptWays(t, func(t *testing.T, way int) {
		var here sync.WaitGroup
		here.Add(clients)
		var again atomic.Int32
		_, ask := keptJail(t, way, func(n int, c net.Conn) {
			if n > clients {
				again.Add(1)
				return
			}
			here.Done()
			here.Wait() // all at once
			io.WriteString(c, real1)
			if !heardNothing(c) {
				again.Add(1)
			}
		})
		var all sync.WaitGroup
		for range clients {
			all.Go(func() { ask() })
		}
		all.Wait()
		if status, _ := ask(); status != 502 || again.Load() != 2 {
			t.Errorf("%d, sent %d times", status, again.Load())
		}
	})
}

// TestUnaskedAnswer: what a server says without being asked is the answer to nothing.
func TestUnaskedAnswer(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-A: "
	long := head + strings.Repeat("a", 4096-len(head)-len("\r\n\r\nreal")) + "\r\n\r\nreal" // as long as what is read at once
	for name, before := range map[string]string{"at once": real1, "behind what was read": long, "with no body": "HTTP/1.1 304 Not Modified\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			keptWays(t, func(t *testing.T, way int) {
				_, ask := keptJail(t, way, func(n int, c net.Conn) {
					if n == 1 {
						io.WriteString(c, before+false1)
					} else {
						io.WriteString(c, real1)
					}
					heardNothing(c)
				})
				ask()
				if status, body := ask(); status != 200 || body != "real" {
					t.Errorf("%d %q", status, body)
				}
			})
		})
	}
	t.Run("later", func(t *testing.T) {
		keptWays(t, func(t *testing.T, way int) {
			told, said := make(chan struct{}), make(chan struct{})
			_, ask := keptJail(t, way, func(n int, c net.Conn) {
				io.WriteString(c, real1)
				if n == 1 {
					<-told
					io.WriteString(c, false1)
					close(said)
				}
				heardNothing(c)
			})
			ask()
			close(told)
			<-said
			if status, body := ask(); status != 200 || body != "real" {
				t.Errorf("%d %q", status, body)
			}
		})
	})
}

// TestKeptConnectionIsUsed is the control of these: a server that says nothing unasked is asked again, and on the same connection.
func TestKeptConnectionIsUsed(t *testing.T) {
	keptWays(t, func(t *testing.T, way int) {
		answers := []string{real1, "HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nreal\r\n0\r\n\r\n", real1}
		j, ask := keptJail(t, way, func(n int, c net.Conn) {
			for _, a := range answers {
				io.WriteString(c, a)
				heardNothing(c)
			}
		})
		for range answers {
			if status, body := ask(); status != 304 && (status != 200 || body != "real") {
				t.Fatalf("%d %q", status, body)
			}
		}
		if n := j.opened(); n != 1 {
			t.Errorf("%d connections", n)
		}
		// http.Transport would have two that wait beside it.
		var stacks bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
			t.Fatal(err)
		}
		for stack := range strings.SplitSeq(stacks.String(), "\n\n") {
			if strings.Contains(stack, "persistConn") && strings.Contains(stack, "egress.(*web)") {
				t.Error(stack)
			}
		}
		x := j.door.web.reads
		if x.n != 1 {
			t.Errorf("%d wait", x.n)
		}
		if err := j.door.Close(); err != nil || x.n != 0 || len(x.idle) != 0 {
			t.Errorf("%d wait for a door that is closed: %v", x.n, err)
		}
	})
}

// TestClientsLastRequest: a client that ends its connection ends no other.
func TestClientsLastRequest(t *testing.T) {
	said := make(chan *http.Request, 2)
	j := webJail(t, func(w http.ResponseWriter, r *http.Request) { said <- r }, nil)
	for _, raw := range []string{"GET / HTTP/1.1\r\nHost: good.example.com\r\nConnection: close\r\n\r\n", "GET / HTTP/1.0\r\nHost: good.example.com\r\n\r\n"} {
		if res, _ := ask(t, j.dial("good.example.com", 80), raw); res.StatusCode != 200 {
			t.Errorf("%s", res.Status)
		}
		if r := <-said; r.Close {
			t.Errorf("%q: the server is told to close", raw)
		}
	}
	if n := j.opened(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestConnectionCloseIsKept: one of which its server says that it ends is not used again, nor one whose answer was broken off.
func TestConnectionCloseIsKept(t *testing.T) {
	for name, answer := range map[string]string{
		"close":    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nreal",
		"HTTP/1.0": "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nreal",
		"its end":  "HTTP/1.1 200 OK\r\n\r\nreal",
	} {
		t.Run(name, func(t *testing.T) {
			keptWays(t, func(t *testing.T, way int) {
				j, ask := keptJail(t, way, func(n int, c net.Conn) {
					io.WriteString(c, answer)
					if name == "its end" {
						if over, ok := c.(*tls.Conn); ok {
							over.CloseWrite()
						}
						return
					}
					if !heardNothing(c) {
						t.Error("asked again")
					}
				})
				for n := range 2 {
					if status, body := ask(); status != 200 || body != "real" || j.opened() != n+1 {
						t.Errorf("%d %q, %d connections", status, body, j.opened())
					}
				}
			})
		})
	}
}

// TestWaitingConnectionsAreBounded: below a wildcard there are as many servers as a jail likes, and each leaves a connection that waits.
func TestWaitingConnectionsAreBounded(t *testing.T) {
	const most = 3
	addr := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "real") })
	var rules []Rule
	for n := range 3 * most {
		rules = append(rules, Rule{Host: fmt.Sprintf("h%d.example.com", n), Ports: []uint16{80}, Connect: addr, Why: "test"})
	}
	j := newJail(t, rules, func(c *Config) { c.Limits.PerHost = most })
	x := j.door.web.reads
	x.wait = 200 * time.Millisecond
	waiting := func() (n int) {
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, list := range x.idle {
			n += len(list)
		}
		if n != x.n || n == 0 && len(x.idle) > 0 {
			t.Errorf("%d in %d places, %d counted", n, len(x.idle), x.n)
		}
		return n
	}
	client := j.client()
	seen := 0
	for _, r := range rules {
		if res, body := get(t, client, "http://"+r.Host+"/"); res.StatusCode != 200 || body != "real" {
			t.Fatalf("%d %q", res.StatusCode, body)
		}
		seen = max(seen, waiting())
	}
	if seen != most {
		t.Errorf("%d wait, at most %d should", seen, most)
	}
	j.wait("the end of all", func(Event) bool {
		n := 0
		for _, e := range j.events {
			if e.Kind == "net.close" {
				n++
			}
		}
		return n == len(rules)
	})
	if n := waiting(); n != 0 {
		t.Errorf("%d are kept", n)
	}
}

// TestHalfAnAnswer: where the rest is not read, it is not taken for the next answer.
func TestHalfAnAnswer(t *testing.T) {
	addr := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "real") })
	rule := &Rule{Host: "good.example.com", Ports: []uint16{80}, Connect: addr, Why: "test"}
	j := newJail(t, []Rule{*rule}, nil)
	p := &passage{target: target{"good.example.com", 80, rule}}
	for _, n := range []int{0, 2} {
		req, err := http.NewRequestWithContext(context.WithValue(t.Context(), passageKey{}, p), "GET", "http://good.example.com:80/", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := j.door.web.reads.RoundTrip(req, p)
		if err != nil {
			t.Fatal(err)
		}
		io.ReadFull(res.Body, make([]byte, n))
		res.Body.Close()
		if j.door.web.reads.n != 0 {
			t.Errorf("a connection is kept after %d bytes of its answer", n)
		}
	}
}

// TestNoAnswer: what is no answer ends the connection to the server, for what is carried here and for what http.Transport carries.
func TestNoAnswer(t *testing.T) {
	const informed, changed = "HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	for name, act := range map[string]func(net.Conn){"information without end": without(informed), "another protocol": first(changed, awaitEnd)} {
		for _, method := range []string{"GET", "DELETE"} {
			t.Run(method+"/"+name, func(t *testing.T) {
				m := newMisbehaving(t, "", act)
				j := chaosJail(t, m, "", nil)
				c := j.dial("good.example.com", 80)
				fmt.Fprintf(c, "%s /a HTTP/1.1\r\nHost: good.example.com\r\nConnection: close\r\n\r\n", method)
				got, err := io.ReadAll(c)
				if _, last, _ := strings.Cut(strings.ReplaceAll(string(got), informed, ""), "HTTP/1.1 "); err != nil || !strings.HasPrefix(last, "502 ") {
					t.Errorf("%.80q, %v", last, err)
				}
				if n := strings.Count(string(got), informed); n > maxInformation {
					t.Errorf("informed %d times", n)
				}
				within(t, patience, "the server's end", m.gone)
				j.waitDeny(BadResponse)
				j.wait("close", func(e Event) bool { return e.Kind == "net.close" })
			})
		}
	}
	t.Run("what a server may say", func(t *testing.T) {
		m := newMisbehaving(t, "", first(strings.Repeat(informed, 1000)+real1, awaitEnd))
		j := chaosJail(t, m, "", nil)
		if res, body := get(t, j.client(), "http://good.example.com/a"); res.StatusCode != 200 || body != "real" {
			t.Errorf("%s %q", res.Status, body)
		}
	})
}

// TestNobodyWaitsForTheRecord: a whole answer is the client's before it is written down.
func TestNobodyWaitsForTheRecord(t *testing.T) {
	answered := make(chan struct{})
	done := sync.OnceFunc(func() { close(answered) })
	defer done()
	var j *jail
	j = webJail(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "real") }, func(c *Config) {
		c.Event = func(e Event) {
			if e.Kind == "http.request" {
				<-answered
			}
			j.event(e)
		}
	})
	client := j.client()
	client.Timeout = patience
	if res, body := get(t, client, "http://good.example.com/"); res.StatusCode != 200 || body != "real" {
		t.Errorf("%s %q", res.Status, body)
	}
	done()
	j.wait("the record", func(e Event) bool { return e.Kind == "http.request" })
}
