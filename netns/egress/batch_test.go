package egress

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// calls counts those that reach the socket, and lets a test say what a read gives.
type calls struct {
	net.Conn
	reads, writes int
	give          func(p []byte) (int, error) // nil: the socket
}

func (c *calls) Read(p []byte) (int, error) {
	c.reads++
	if c.give != nil {
		return c.give(p)
	}
	return c.Conn.Read(p)
}

func (c *calls) Write(p []byte) (int, error) {
	c.writes++
	return c.Conn.Write(p)
}

// batches gives both ends of one TLS connection, and what is below each.
func batches(t *testing.T, version uint16, suite uint16, pool *buffers) (ends [2]*batch, under [2]*calls) {
	t.Helper()
	ca, err := NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf("a.example.com")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	a, b := tcpPair(t)
	under = [2]*calls{{Conn: a}, {Conn: b}}
	for i := range ends {
		w := &wire{Conn: under[i], pool: pool}
		ends[i] = &batch{wire: w, Conn: tls.Server(w, &tls.Config{Certificates: []tls.Certificate{*leaf}, DynamicRecordSizingDisabled: true, MinVersion: version, MaxVersion: version})}
		if i == 1 {
			ends[i].Conn = tls.Client(w, &tls.Config{RootCAs: roots, ServerName: "a.example.com", MinVersion: version, MaxVersion: version, CipherSuites: []uint16{suite}})
		}
	}
	var both sync.WaitGroup
	for _, end := range ends {
		both.Go(func() {
			if err := end.Handshake(); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	t.Cleanup(func() {
		for _, end := range ends {
			end.Close()
		}
		if n := pool.lent.Load(); n != 0 {
			t.Errorf("%d buffers were not given back", n)
		}
	})
	return ends, under
}

// TestBatchCarriesWhatItGets: pieces of any size arrive as they were, both ways at once, with each kind of record, and also when all
// large buffers are taken.
func TestBatchCarriesWhatItGets(t *testing.T) {
	for name, kind := range map[string]struct{ version, suite uint16 }{
		"TLS 1.3":      {tls.VersionTLS13, 0},
		"TLS 1.2, GCM": {tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
		"TLS 1.2, CBC": {tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA},
	} {
		for _, taken := range []int32{0, mostLent - 1, mostLent} {
			t.Run(fmt.Sprintf("%s, %d taken", name, taken), func(t *testing.T) {
				pool := new(buffers)
				ends, under := batches(t, kind.version, kind.suite, pool)
				pool.lent.Add(taken)
				defer pool.lent.Add(-taken)
				const total = 8 << 20
				var all sync.WaitGroup
				for i, from := range ends {
					random, to := rand.New(rand.NewPCG(1, uint64(i))), ends[1-i]
					sent, got := sha256.New(), sha256.New()
					piece := make([]byte, 600<<10)
					all.Go(func() {
						for left := total; left > 0; {
							p := piece[:min(left, 1+random.IntN(len(piece))>>random.IntN(12))]
							for j := range p {
								p[j] = byte(random.Uint32())
							}
							sent.Write(p)
							if n, err := from.Write(p); n != len(p) || err != nil {
								t.Errorf("wrote %d of %d: %v", n, len(p), err)
							}
							left -= len(p)
						}
						if err := from.CloseWrite(); err != nil {
							t.Error(err)
						}
					})
					all.Go(func() {
						buf := make([]byte, moreBytes)
						for n, size := 0, 0; ; n++ {
							m, err := to.Read(buf[:1+size])
							got.Write(buf[:m])
							if err == io.EOF {
								return
							} else if err != nil {
								t.Error(err)
								return
							}
							size = (size*5 + 777) % len(buf)
						}
					})
					defer func() {
						if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
							t.Errorf("other bytes came from end %d", i)
						}
					}()
				}
				all.Wait()
				if most := total / maxRecord / 2; taken == 0 && (under[0].writes > most || under[1].writes > most) {
					t.Errorf("%d and %d writes, want at most %d", under[0].writes, under[1].writes, most)
				}
			})
		}
	}
}

// TestBatchWaitsForTheFirstAlone: Read gives the records that are there, and does not wait for the rest of one that has begun.
func TestBatchWaitsForTheFirstAlone(t *testing.T) {
	ends, under := batches(t, tls.VersionTLS13, 0, new(buffers))
	from, to := ends[0], ends[1]
	if _, err := from.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := to.Read(make([]byte, 1)); n != 1 || err != nil { // and the tickets
		t.Fatal(n, err)
	}
	if _, err := from.Write(make([]byte, 5*maxRecord)); err != nil {
		t.Fatal(err)
	}
	var records []byte
	socket := under[1].Conn
	next := func(n int) func(p []byte) (int, error) { // as much as there is up to n bytes of all that was sent
		return func(p []byte) (int, error) {
			if len(records) == 0 {
				records = make([]byte, 5*(maxRecord+22))
				if _, err := io.ReadFull(socket, records); err != nil {
					return 0, err
				}
			}
			n = min(n, len(p), len(records))
			copy(p, records[:n])
			records = records[n:]
			return n, nil
		}
	}
	under[1].give = next(3*(maxRecord+22) + 1000)
	buf := make([]byte, moreBytes)
	for _, want := range []int{3 * maxRecord, 2 * maxRecord} {
		to.wire.much = true // as in the middle of a body
		if n, err := to.Read(buf); n != want || err != nil {
			t.Errorf("%d bytes, %v; want %d", n, err, want)
		}
		under[1].give = next(1 << 20)
	}
}

// TestInspectedBodiesTakeFewCalls: client and server take one for each record, the door takes several at once.
func TestInspectedBodiesTakeFewCalls(t *testing.T) {
	const size = 32 << 20
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Error(err)
		}
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			for range size >> 20 {
				w.Write(make([]byte, 1<<20))
			}
		}
	}, func(r *Rule) { r.Methods, r.MaxUpload = []string{"GET", "PUT"}, 1<<30 })
	client := j.client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	for _, method := range []string{"GET", "PUT"} {
		before := systemCalls(t)
		req, err := http.NewRequest(method, "https://good.example.com/ok", nil)
		if err != nil {
			t.Fatal(err)
		}
		if method == "PUT" {
			req.Body, req.ContentLength = io.NopCloser(io.LimitReader(zeroes{}, size)), size
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		if err != nil || res.StatusCode != 200 || method == "GET" && n != size {
			t.Errorf("%s: %d, %d bytes, %v", method, res.StatusCode, n, err)
		}
		res.Body.Close()
		for begun := time.Now(); j.door.web.bodies.lent.Load() > 0; runtime.Gosched() { // kept connections hold nothing
			if time.Since(begun) > patience {
				t.Fatalf("%s: %d buffers are held", method, j.door.web.bodies.lent.Load())
			}
		}
		if per := float64(systemCalls(t)-before) / (size / maxRecord); per > 2.2 {
			t.Errorf("%s: %.2f calls for each record", method, per)
		}
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// systemCalls is how many read(2) and write(2) this process has made (proc_pid_io(5)).
func systemCalls(t *testing.T) (n int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	var chars, written, reads, writes int
	if _, err := fmt.Sscanf(string(text), "rchar: %d\nwchar: %d\nsyscr: %d\nsyscw: %d", &chars, &written, &reads, &writes); err != nil {
		t.Fatal(err)
	}
	return reads + writes
}

// TestBegunChunkIsPassedOn: of a chunk that is not whole yet what has come is passed on, but for what net/http reads at a time.
func TestBegunChunkIsPassedOn(t *testing.T) {
	next := make(chan struct{})
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n", 3*someBytes)
		for range 3 {
			c.Write(make([]byte, someBytes))
			<-next
		}
		io.WriteString(c, "\r\n0\r\n\r\n")
	}, nil)
	client := j.client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	client.Timeout = patience
	res, err := client.Get("https://good.example.com/ok")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for range 3 {
		if _, err := io.ReadFull(res.Body, make([]byte, someBytes)); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
	}
	if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}

// TestBatchGivesBack: what a connection holds when it is closed is free again: what nobody has asked for, what was not sent, and all that
// a body was carried through that a client has left.
func TestBatchGivesBack(t *testing.T) {
	pool := new(buffers)
	ends, _ := batches(t, tls.VersionTLS13, 0, pool)
	if _, err := ends[0].Write(make([]byte, 9*maxRecord)); err != nil {
		t.Fatal(err)
	}
	ends[1].wire.much = true
	if _, err := ends[1].Conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ends[0].wire.cork(true)
	if _, err := ends[0].Conn.Write([]byte("more")); err != nil {
		t.Fatal(err)
	}
	if n := pool.lent.Load(); n != 2 {
		t.Errorf("%d buffers are held", n)
	}
	for _, end := range ends {
		end.Close()
	}
	if n, err := ends[0].wire.Write([]byte("a Write that was under way")); n != 0 || err == nil {
		t.Error("written after the end")
	}
	if n := pool.lent.Load(); n != 0 {
		t.Errorf("%d buffers are held after the end", n)
	}

	gone := make(chan struct{})
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		for r.Context().Err() == nil {
			w.Write(make([]byte, 1<<20))
		}
	}, nil)
	client := j.client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	res, err := client.Get("https://good.example.com/ok")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, res.Body, 8<<20); err != nil {
		t.Error(err)
	}
	res.Body.Close()
	within(t, patience, "the end of an answer that nobody reads", gone)
	j.stop()
	j.served.Wait()
	if n := j.door.web.bodies.lent.Load(); n != 0 {
		t.Errorf("%d buffers are held when the door has ended", n)
	}
}
