package egress

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func TestReplayable(t *testing.T) {
	open := func(n int) *http.Request {
		req := &http.Request{Body: io.NopCloser(&pieces{r: strings.NewReader(strings.Repeat("ab", n/2)), n: 7})}
		replayable(req)
		return req
	}
	req := open(1000)
	first := req.Body
	io.ReadFull(first, make([]byte, 500))
	second, err := req.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Read(make([]byte, 1)); err == nil {
		t.Error("the first try reads on beside the second")
	}
	if b, err := io.ReadAll(second); err != nil || string(b) != strings.Repeat("ab", 500) {
		t.Errorf("second try: %d bytes, %v", len(b), err)
	}
	third, _ := req.GetBody()
	if b, err := io.ReadAll(third); err != nil || len(b) != 1000 {
		t.Errorf("third try: %d bytes, %v", len(b), err)
	}
	req = open(maxKept + 2)
	if b, err := io.ReadAll(req.Body); err != nil || len(b) != maxKept+2 {
		t.Errorf("long body: %d bytes, %v", len(b), err)
	}
	if _, err := req.GetBody(); err == nil {
		t.Error("long body: a second try")
	}
	why := errors.New("why")
	req = &http.Request{Body: io.NopCloser(io.MultiReader(strings.NewReader("ab"), failing{why}))}
	replayable(req)
	for range 2 {
		if b, err := io.ReadAll(req.Body); string(b) != "ab" || !errors.Is(err, why) {
			t.Errorf("%q, %v", b, err)
		}
		req.Body, _ = req.GetBody()
	}
}

// TestTriedAgainWhileItWaits: a try that waits for the client neither holds up the next one nor keeps what it gets.
func TestTriedAgainWhileItWaits(t *testing.T) {
	pr, pw := io.Pipe()
	req := &http.Request{Body: pr}
	replayable(req)
	ended := make(chan error, 1)
	go func() {
		_, err := req.Body.Read(make([]byte, 10))
		ended <- err
	}()
	for req.Body.(*try).body.reading.TryLock() { // until it waits
		req.Body.(*try).body.reading.Unlock()
		runtime.Gosched()
	}
	second, err := req.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		io.WriteString(pw, "hello")
		pw.Close()
	}()
	if b, err := io.ReadAll(second); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	if err := <-ended; err == nil {
		t.Error("the first try got something")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// TestTriedAgain: a POST that the real server turned away unseen, with GOAWAY, reaches it over the next connection.
func TestTriedAgain(t *testing.T) {
	ca, err := NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Leaf("good.example.com")
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t, "127.0.0.1:0")
	bodies := make(chan string, 1)
	go func() {
		for try := 0; ; try++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go goAway(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: []string{"h2"}}), try == 0, bodies)
		}
	}()
	j := newJail(t, []Rule{{Host: "good.example.com", Ports: []uint16{443}, Connect: l.Addr().String(), UpstreamCA: ca.PEM(), TLS: "inspect", Why: "test"}}, nil)
	res, err := j.over(2).Post("https://good.example.com/", "", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatalf("%s %v", res.Status, res.Header)
	}
	if body := <-bodies; body != "hello" {
		t.Errorf("the server got %q", body)
	}
	if n := j.opened(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// goAway answers one request with 200, or turns it away.
func goAway(c net.Conn, away bool, bodies chan<- string) {
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	fr := http2.NewFramer(c, c)
	fr.WriteSettings()
	var body bytes.Buffer
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				fr.WriteSettingsAck()
			}
		case *http2.DataFrame:
			body.Write(f.Data())
			if !f.StreamEnded() {
				continue
			}
			if away {
				fr.WriteGoAway(0, http2.ErrCodeNo, nil)
				return
			}
			bodies <- body.String()
			var block bytes.Buffer
			hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
		}
	}
}
