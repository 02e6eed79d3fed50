package egress

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

// said is one frame of a server.
func said(first byte, text string) string {
	head := []byte{first, 127}
	switch n := len(text); {
	case n < 126:
		head[1] = byte(n)
	case n < 1<<16:
		head[1] = 126
		head = binary.BigEndian.AppendUint16(head, uint16(n))
	default:
		head = binary.BigEndian.AppendUint64(head, uint64(n))
	}
	return string(head) + text
}

// heard reads frames: each message as "OPCODE:TEXT", control frames where they stand.
func heard(t *testing.T, frames string) (all string) {
	t.Helper()
	message := ""
	for frames != "" {
		size, from := int(frames[1]), 2
		switch size {
		case 126:
			size, from = int(binary.BigEndian.Uint16([]byte(frames[2:]))), 4
		case 127:
			size, from = int(binary.BigEndian.Uint64([]byte(frames[2:]))), 10
		}
		text, opcode := frames[from:from+size], frames[0]&0x0f
		switch {
		case opcode >= 8:
			all += fmt.Sprintf("%d:%s\n", opcode, text)
		case opcode != 0 && message != "" || opcode == 0 && message == "":
			t.Fatalf("opcode %d behind %q", opcode, message)
		case opcode != 0:
			message = fmt.Sprintf("%d:", opcode)
			fallthrough
		default:
			if message += text; frames[0]&0x80 != 0 {
				all, message = all+message+"\n", ""
			}
		}
		frames = frames[from+size:]
	}
	return all + message
}

type pipe struct {
	io.Reader
	io.Writer
	io.Closer
}

func TestSocketed(t *testing.T) {
	bulk := string(noise(70 << 10))
	for name, tc := range map[string]struct{ in, want string }{
		"text":                  {said(wsText, "a "+fakeGitHub+" b"), "1:a " + fakePlaceholder + " b\n"},
		"binary":                {said(wsBinary, fakeGitHub), "2:" + fakePlaceholder + "\n"},
		"long":                  {said(wsBinary, bulk+fakeGitHub+bulk), "2:" + bulk + fakePlaceholder + bulk + "\n"},
		"escaped":               {said(wsText, eachByte(`\u%04x`, fakeGitHub)), "1:" + eachByte(`\u%04x`, fakePlaceholder) + "\n"},
		"fragments":             {said(wsMore, fakeGitHub[:9]) + said(0, fakeGitHub[9:20]) + said(wsLast, fakeGitHub[20:]+"!"), "1:" + fakePlaceholder + "!\n"},
		"empty fragments":       {said(wsMore, "") + said(0, fakeGitHub) + said(wsLast, ""), "1:" + fakePlaceholder + "\n"},
		"fragments with a ping": {said(wsMore, fakeGitHub[:9]) + said(wsPing, fakeGitHub) + said(wsLast, fakeGitHub[9:]), "9:" + fakePlaceholder + "\n1:" + fakePlaceholder + "\n"},
		"close":                 {said(0x88, "\x03\xe8"+fakeGitHub), "8:\x03\xe8" + fakePlaceholder + "\n"},
		"nothing":               {said(wsText, "") + said(wsText, "ghp_") + said(0x88, ""), "1:\n1:ghp_\n8:\n"},
	} {
		for _, r := range []io.Reader{strings.NewReader(tc.in), iotest.OneByteReader(strings.NewReader(tc.in))} {
			if _, whole := r.(*strings.Reader); !whole && len(tc.in) > 1<<10 {
				continue // one frame for each byte
			}
			s := &socketed{
				ReadWriteCloser: pipe{Reader: r},
				swaps:           func() []*swap { return []*swap{newSwap([]string{fakeGitHub}, fakePlaceholder)} },
				refuse:          func(detail string) error { return fmt.Errorf("refused: %s", detail) },
			}
			out, err := io.ReadAll(s)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got := heard(t, string(out)); got != tc.want {
				t.Errorf("%s: %.200q, want %.200q", name, got, tc.want)
			}
			if control := heard(t, tc.in); name != "nothing" && (control == tc.want || !strings.Contains(slowUnescape(control), fakeGitHub)) {
				t.Errorf("%s: control: %.200q", name, control)
			}
		}
	}
	for name, in := range map[string]string{
		"compressed": said(wsText|0x40, "x"), "masked": frame(wsText, [4]byte{1, 2}, "x"), "long control": said(wsPing, strings.Repeat("x", 126)),
		"control in fragments": said(0x09, "x"),
	} {
		s := &socketed{
			ReadWriteCloser: pipe{Reader: strings.NewReader(said(wsText, "before") + in)},
			swaps:           func() []*swap { return nil },
			refuse:          func(detail string) error { return fmt.Errorf("refused: %s", detail) },
		}
		if out, err := io.ReadAll(s); err == nil || !strings.HasPrefix(err.Error(), "refused") || heard(t, string(out)) != "1:before\n" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// TestSocketHoldsNothingBack: a frame is given on while the message lasts.
func TestSocketHoldsNothingBack(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	s := &socketed{ReadWriteCloser: pipe{Reader: r}, swaps: func() []*swap { return []*swap{newSwap([]string{fakeGitHub}, fakePlaceholder)} }}
	go io.WriteString(w, said(wsMore, "one ghp_")) // and no more
	buf := make([]byte, 64)
	if n, err := s.Read(buf); err != nil || heard(t, string(buf[:n])) != "1:one " {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// TestWebSocketEcho: through the door. Frames that cannot be read end the connection, and the log says why.
func TestWebSocketEcho(t *testing.T) {
	addr, ca := manyBackend(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if key != apiReal {
			t.Errorf("control: the server got %q", key)
		}
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s\r\n", strings.ReplaceAll(r.Header.Get("X-Extra"), ";", "\r\n"))
		io.WriteString(c, said(wsMore, key[:20])+said(wsLast, key[20:]))
		if r.URL.Path == "/compressed" {
			io.WriteString(c, said(wsText|0x40, "x"))
			io.Copy(io.Discard, c)
			return
		}
		io.WriteString(c, said(0x88, ""))
	}, apiHost)
	j := newJail(t, []Rule{{Host: apiHost, Ports: []uint16{443}, Connect: addr, UpstreamCA: ca.PEM(), TLS: "inspect", Why: "test"}}, func(c *Config) {
		c.Policy.Secrets = []Secret{apiSecret("", true)}
		c.Secrets = values{"api": apiReal}.get
	})
	for _, path := range []string{"/plain", "/compressed"} {
		c := j.tls(apiHost, 443)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer %s\r\n\r\n", path, apiHost, apiShown)
		br := bufio.NewReader(c)
		if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 101 {
			t.Fatalf("%v %v", res, err)
		}
		out, _ := io.ReadAll(br)
		c.Close()
		want := "1:" + apiShown + "\n"
		if path == "/plain" {
			want += "8:\n"
		} else {
			j.wait("encoding", func(e Event) bool { return e.Kind == "http.deny" && e.Reason == Encoding && e.Path == path })
		}
		if got := heard(t, string(out)); got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
	c := j.tls(apiHost, 443)
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nAuthorization: Bearer %s\r\nX-Extra: Sec-WebSocket-Extensions: permessage-deflate;\r\n\r\n", apiHost, apiShown)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	wantReason(t, res, 403, Encoding)
}
