package egress

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// deaf is a real server that nothing but a reset gets rid of: it reads up to a mark, answers, and then neither closes nor minds
// that the client has.
type deaf struct {
	addr string
	seen chan struct{} // the mark came
	eof  chan struct{} // the client's half-close did
	gone chan struct{} // the connection is dead in both directions
}

func newDeaf(t *testing.T, mark []byte, reply string) *deaf {
	d := &deaf{seen: make(chan struct{}, 1), eof: make(chan struct{}, 1), gone: make(chan struct{}, 1)}
	d.addr = server(t, func(c *net.TCPConn) {
		var got []byte
		buf := make([]byte, 4096)
		for !bytes.Contains(got, mark) {
			n, err := c.Read(buf)
			if got = append(got, buf[:n]...); err != nil {
				return
			}
		}
		io.WriteString(c, reply)
		d.seen <- struct{}{}
		if _, err := io.Copy(io.Discard, c); err == nil {
			d.eof <- struct{}{}
			died(c)
		}
		d.gone <- struct{}{}
	})
	return d
}

// died waits until a connection whose end was read is dead in the other direction, too.
func died(c *net.TCPConn) {
	c.SetReadDeadline(time.Now().Add(patience))
	gone(c)
}

// within holds that something comes about within a time.
func within(t *testing.T, limit time.Duration, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(limit):
		t.Errorf("%s: not within %v", what, limit)
	}
}

// TestEndIsNotUpToTheServer: whatever a real server does not do, the door ends when it is told to, and resets that server.
func TestEndIsNotUpToTheServer(t *testing.T) {
	hello := helloFor(t, "a.example.com")
	const get = "GET / HTTP/1.1\r\nHost: a.example.com\r\n"
	connect := func(j *jail, port uint16) *net.TCPConn {
		c := j.dialAddr(testGateway, proxyPort)
		if res, _ := ask(j.t, c, fmt.Sprintf("CONNECT a.example.com:%d HTTP/1.1\r\nHost: a.example.com\r\n\r\n", port)); res.StatusCode != 200 {
			j.t.Fatal(res.Status)
		}
		return c
	}
	for _, kind := range []struct {
		name   string
		mark   []byte
		reply  string
		tunnel bool // a half-close arrives
		open   func(*jail, uint16) *net.TCPConn
	}{
		{"tunnel", []byte("hi"), "", true, func(j *jail, port uint16) *net.TCPConn {
			c := j.dial("a.example.com", port)
			io.WriteString(c, "hi")
			return c
		}},
		{"TLS", hello, "", true, func(j *jail, _ uint16) *net.TCPConn {
			c := j.dial("a.example.com", 443)
			c.Write(hello)
			return c
		}},
		{"CONNECT", []byte("hi"), "", true, func(j *jail, port uint16) *net.TCPConn {
			c := connect(j, port)
			io.WriteString(c, "hi")
			return c
		}},
		{"CONNECT, TLS", hello, "", true, func(j *jail, _ uint16) *net.TCPConn {
			c := connect(j, 443)
			c.Write(hello)
			return c
		}},
		{"request without an answer", []byte("\r\n\r\n"), "", false, func(j *jail, _ uint16) *net.TCPConn {
			c := j.dial("a.example.com", 80)
			io.WriteString(c, get+"\r\n")
			return c
		}},
		{"answer without an end", []byte("\r\n\r\n"), "HTTP/1.1 200 OK\r\n\r\nbegun", false, func(j *jail, _ uint16) *net.TCPConn {
			c := j.dial("a.example.com", 80)
			io.WriteString(c, get+"\r\n")
			c.Read(make([]byte, 100))
			return c
		}},
		{"request through CONNECT", []byte("\r\n\r\n"), "", false, func(j *jail, _ uint16) *net.TCPConn {
			c := connect(j, 80)
			io.WriteString(c, get+"\r\n")
			return c
		}},
		{"WebSocket", []byte("\r\n\r\n"), "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", true,
			func(j *jail, _ uint16) *net.TCPConn {
				c := j.dial("a.example.com", 80)
				if res, _ := readUpgrade(j.t, c, get+"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"); res != "101" {
					j.t.Fatal(res)
				}
				return c
			}},
	} {
		for _, side := range []string{"open", "closed", "half-closed"} {
			for _, end := range []string{"context", "Close"} {
				t.Run(kind.name+"/"+side+"/"+end, func(t *testing.T) {
					others := goleak.IgnoreCurrent()
					t.Cleanup(func() { goleak.VerifyNone(t, others) }) // after all other clean-ups
					d := newDeaf(t, kind.mark, kind.reply)
					own := listen(t, "0.0.0.0:0")
					port := portOf(own)
					j := newJail(t, []Rule{{Host: "a.example.com", Ports: []uint16{port, 80, 443}, Connect: d.addr, Why: "test"}}, nil, own)
					c := kind.open(j, port)
					within(t, patience, "request", d.seen)
					switch side {
					case "closed":
						c.Close()
					case "half-closed":
						c.CloseWrite()
					}
					if kind.tunnel && side != "open" {
						within(t, patience, "half-close", d.eof)
					}
					over := make(chan struct{})
					go func() {
						defer close(over)
						if end == "Close" {
							j.door.Close()
						} else {
							j.stop()
						}
						j.served.Wait()
					}()
					within(t, time.Second, "Serve and Close", over)
					within(t, time.Second, "the server's end", d.gone)
				})
			}
		}
	}
}

// readUpgrade gives the status of the answer to a request, and a reader of what follows it.
func readUpgrade(t *testing.T, c net.Conn, raw string) (string, *bufio.Reader) {
	t.Helper()
	io.WriteString(c, raw)
	br := bufio.NewReader(c)
	line, err := br.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	for {
		if field, err := br.ReadString('\n'); err != nil || field == "\r\n" {
			return line[len("HTTP/1.1 "):][:3], br
		}
	}
}

// A launch that fails closes the door when some of those that are to serve it have not yet begun.
func TestServeAfterClose(t *testing.T) {
	ca, err := NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		d, err := New(Config{Policy: &Policy{}, CA: ca, Gateway: testGateway, Explain: testExplain, Range: testRange})
		if err != nil {
			t.Fatal(err)
		}
		var serving sync.WaitGroup
		for i := range 8 {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 { // whoever made it may have closed it, too
				l.Close()
			}
			serving.Go(func() {
				if err := d.Serve(context.Background(), l); err != nil {
					t.Error(err)
				}
				if _, err := l.Accept(); err == nil {
					t.Error("the listener is open")
				}
			})
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	}
}
