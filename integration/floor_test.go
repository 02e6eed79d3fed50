package integration

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// floor is the least that a proxy beside the client can do: what the door takes more than this is for the cable into the jail, the
// judgement, the record, and servers and clients that do not keep to the rules. It prints its address and ends with stdin.
//
//	floor tunnel ADDRESS CA OWN      carries bytes, by splice(2), from when a client has said its name
//	floor inspect ADDRESS CA OWN     ends TLS, with a certificate of an authority that it writes to OWN, parses each request and answer of
//	                                 HTTP/1 and writes them again; CA is the server's
//	floor dns ADDRESS CA OWN         answers each question with one address, or none
//
// It has as many processors as the door has.
func floor(args []string) error {
	if len(args) != 4 {
		return errors.New("want tunnel|inspect|dns ADDRESS CA OWN")
	}
	runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
	if args[0] == "dns" {
		return answerNames()
	}
	serve := func(c net.Conn) error { return between(c, args[1]) }
	if args[0] == "inspect" {
		roots, err := rootsIn(args[2])
		if err != nil {
			return err
		}
		mint, err := authority(args[3])
		if err != nil {
			return err
		}
		leaf, err := mint(&tls.ClientHelloInfo{ServerName: "tunnel.example"})
		if err != nil {
			return err
		}
		serve = func(c net.Conn) error {
			return passOn(tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*leaf}}), args[1], &tls.Config{RootCAs: roots, ServerName: "tunnel.example"})
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_ = serve(c) // the client sees it
			}()
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func between(c net.Conn, address string) error {
	hello := make([]byte, 16<<10)
	n, err := c.Read(hello)
	if err != nil {
		return err
	}
	server, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer server.Close()
	if _, err := server.Write(hello[:n]); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(server, c)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(c, server)
	return err
}

func passOn(c net.Conn, address string, config *tls.Config) error {
	server, err := tls.Dial("tcp", address, config)
	if err != nil {
		return err
	}
	defer server.Close()
	requests, answers := bufio.NewReader(c), bufio.NewReader(server)
	toServer, toClient := bufio.NewWriter(server), bufio.NewWriter(c)
	for {
		req, err := http.ReadRequest(requests)
		if err != nil {
			return err
		}
		if err := errors.Join(req.Write(toServer), toServer.Flush()); err != nil {
			return err
		}
		res, err := http.ReadResponse(answers, req)
		if err != nil {
			return err
		}
		res.Body = prompt{res.Body, answers, toClient}
		if err := errors.Join(res.Write(toClient), toClient.Flush()); err != nil {
			return err
		}
	}
}

func answerNames() error {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(conn.LocalAddr())
	go func() {
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// prompt is a body that is not waited for with something unsent.
type prompt struct {
	io.ReadCloser
	from *bufio.Reader
	to   *bufio.Writer
}

func (p prompt) Read(b []byte) (int, error) {
	if p.from.Buffered() == 0 {
		if err := p.to.Flush(); err != nil {
			return 0, err
		}
	}
	return p.ReadCloser.Read(b)
}

// floorProxy is one that runs. ca names the file with the certificate of the authority that its clients have to trust.
type floorProxy struct {
	address, ca string
	pid         int
}

// startFloor starts one for the time of a test.
func startFloor(b testing.TB, way string, server loadServer) floorProxy {
	f := floorProxy{ca: server.ca}
	if way == "inspect" {
		f.ca = filepath.Join(b.TempDir(), "ca.pem")
	}
	cmd := exec.Command("/proc/self/exe", way, server.address, server.ca, f.ca)
	cmd.Args[0], cmd.Stderr = "floor", os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	f.pid = cmd.Process.Pid
	b.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	f.address = strings.TrimSpace(line)
	return f
}

// TestFloor: what the benchmarks hold the door to does what the door does.
func TestFloor(t *testing.T) {
	server := startLoadServer(t)
	env := benchProject(t, "")
	for way, measures := range map[string][]string{
		"tunnel":  {"down:1000000", "up:1000000", "gets:4:40", "events:100"},
		"inspect": {"down:1000000", "up:1000000", "gets:4:40", "events:100"},
		"dns":     {"dns:3"},
	} {
		f := startFloor(t, way, server)
		for _, measure := range measures {
			seconds, err := number(env, []string{"./load", "https://tunnel.example", f.ca, f.address, measure})
			if err != nil || seconds <= 0 {
				t.Errorf("%s, %s: %v seconds, %v", way, measure, seconds, err)
			}
			if strings.HasPrefix(measure, "events") && seconds > 0.1 { // 0.25 where they come all at once, half a second after the first
				t.Errorf("%s: an event takes %v seconds", way, seconds)
			}
		}
	}
}
