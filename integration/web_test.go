package integration

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// webServers are the servers on loopback that a door of a test may reach. They keep what they were asked: whether something
// got out is judged where it would arrive, not where it left.
type webServers struct {
	HTTP, HTTPS, Echo string // addresses
	CAFile            string
	Files             string // what is below /files/
	repositories      string
	holds             holds

	mu   sync.Mutex
	seen []string // "HOST PATH BODY-START"
}

func startWeb() (*webServers, error) {
	dir, err := os.MkdirTemp("", "web")
	if err != nil {
		return nil, err
	}
	w := &webServers{CAFile: filepath.Join(dir, "ca.pem"), Files: filepath.Join(dir, "files"), repositories: dir}
	if err := os.Mkdir(w.Files, 0o700); err != nil {
		return nil, err
	}
	if err := w.makeRepository(); err != nil {
		return nil, err
	}
	certificate, err := authority(w.CAFile)
	if err != nil {
		return nil, err
	}
	server := &http.Server{Handler: w.handler(), ReadHeaderTimeout: time.Minute}
	for addr, serve := range map[*string]func(net.Listener) error{
		&w.HTTP: server.Serve,
		&w.HTTPS: func(l net.Listener) error {
			config := &tls.Config{GetCertificate: certificate, NextProtos: []string{"h2", "http/1.1"}}
			quiet := log.New(io.Discard, "", 0) // who does not trust it is a test's affair
			return (&http.Server{Handler: w.handler(), TLSConfig: config, ReadHeaderTimeout: time.Minute, ErrorLog: quiet}).ServeTLS(l, "", "")
		},
		&w.Echo: echo,
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		*addr = l.Addr().String()
		go serve(l) // ends with the test binary
	}
	return w, nil
}

// saw tells whether a request for the host arrived that has the word in its path, query, headers or the start of its body.
func (w *webServers) saw(host, word string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, line := range w.seen {
		if strings.HasPrefix(line, host+" ") && strings.Contains(line, word) {
			return true
		}
	}
	return false
}

func (w *webServers) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(rw http.ResponseWriter, r *http.Request) { fmt.Fprintf(rw, "hello from %s\n", r.Host) })
	mux.HandleFunc("/echo", func(rw http.ResponseWriter, r *http.Request) { r.Write(rw) })
	mux.HandleFunc("/bytes", sendBytes)
	mux.HandleFunc("/counter", sendCounter)
	mux.HandleFunc("/sum", func(rw http.ResponseWriter, r *http.Request) {
		sum := sha256.New()
		n, err := io.Copy(sum, r.Body)
		fmt.Fprintf(rw, "%d %x %v\n", n, sum.Sum(nil), err)
	})
	mux.HandleFunc("/sse", sendEvents)
	mux.HandleFunc("/v1/messages", w.holds.hold(sendMessage))
	mux.Handle("/files/", http.StripPrefix("/files/", http.FileServer(http.Dir(w.Files))))
	mux.HandleFunc("/held", w.holds.held)
	mux.HandleFunc("/release", w.holds.release)
	mux.HandleFunc("/git/hello.git/info/lfs/objects/batch", batch)
	mux.HandleFunc("/git/hello.git/info/lfs/objects/of/", w.lfsObject)
	mux.Handle("/git/", &cgi.Handler{
		Path: "/usr/lib/git-core/git-http-backend", Root: "/git", Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + w.repositories, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=t"},
	})
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		start := new(bytes.Buffer)
		if r.Body != nil && r.ContentLength < 1<<20 {
			io.CopyN(start, r.Body, 4096)
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(bytes.NewReader(start.Bytes()), r.Body), r.Body}
		}
		host, _, _ := strings.Cut(r.Host, ":")
		w.mu.Lock()
		w.seen = append(w.seen, fmt.Sprintf("%s %s %q %q", host, r.URL, r.Header, start))
		w.mu.Unlock()
		mux.ServeHTTP(rw, r)
	})
}

func sendBytes(rw http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.FormValue("n"), 10, 64)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	rw.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	io.CopyN(rw, zeros{}, n)
}

// sendCounter sends what `openssl enc -aes-128-ctr -K 00 -iv 00` makes of so many zeros: no two of its parts are alike.
func sendCounter(rw http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.FormValue("n"), 10, 64)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	block, _ := aes.NewCipher(make([]byte, 16))
	io.CopyN(rw, cipher.StreamReader{S: cipher.NewCTR(block, make([]byte, aes.BlockSize)), R: zeros{}}, n)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// sendEvents sends one event and then holds the stream open until the client has gone: who sees the event sees it unbuffered.
func sendEvents(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(rw, "data: first\n\n")
	rw.(http.Flusher).Flush()
	<-r.Context().Done()
}

// sendMessage stands in for the Messages API: whatever is asked, the answer is "the stand-in says hello", in two pieces when a stream
// is wanted, as in https://docs.anthropic.com/en/api/messages-streaming.
func sendMessage(rw http.ResponseWriter, r *http.Request) {
	var asked struct {
		Model  string `json:"model"`
		Stream bool   `json:"stream"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	usage := map[string]any{"input_tokens": 1, "output_tokens": 1}
	message := map[string]any{
		"id": "msg_1", "type": "message", "role": "assistant", "model": asked.Model, "content": []any{},
		"stop_reason": nil, "stop_sequence": nil, "usage": usage,
	}
	if !asked.Stream {
		message["content"] = []any{map[string]any{"type": "text", "text": "the stand-in says hello"}}
		message["stop_reason"] = "end_turn"
		rw.Header().Set("Content-Type", "application/json")
		json.NewEncoder(rw).Encode(message)
		return
	}
	rw.Header().Set("Content-Type", "text/event-stream")
	event := func(kind string, fields map[string]any) {
		fields["type"] = kind
		data, _ := json.Marshal(fields)
		fmt.Fprintf(rw, "event: %s\ndata: %s\n\n", kind, data)
		rw.(http.Flusher).Flush()
	}
	event("message_start", map[string]any{"message": message})
	event("content_block_start", map[string]any{"index": 0, "content_block": map[string]any{"type": "text", "text": ""}})
	for _, piece := range []string{"the stand-in ", "says hello"} {
		event("content_block_delta", map[string]any{"index": 0, "delta": map[string]any{"type": "text_delta", "text": piece}})
	}
	event("content_block_stop", map[string]any{"index": 0})
	event("message_delta", map[string]any{"delta": map[string]any{"stop_reason": "end_turn", "stop_sequence": nil}, "usage": usage})
	event("message_stop", map[string]any{})
}

// echo sends back what it gets, and closes its side only when the peer has closed his: a relay that cannot half-close loses the tail.
func echo(l net.Listener) error {
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			io.Copy(conn, conn)
			conn.(*net.TCPConn).CloseWrite()
		}()
	}
}

// makeRepository puts hello.git, one commit that can be cloned and pushed to, where the web servers find it.
func (w *webServers) makeRepository() error {
	work := filepath.Join(w.repositories, "work")
	bare := filepath.Join(w.repositories, "hello.git")
	for _, args := range [][]string{
		{"init", "-q", "-b", "main", work},
		{"-C", work, "commit", "-q", "--allow-empty", "-m", "the first commit"},
		{"clone", "-q", "--bare", work, bare},
		{"-C", bare, "config", "http.receivepack", "true"},
	} {
		git := exec.Command("git", args...)
		git.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com")
		if out, err := git.CombinedOutput(); err != nil {
			return fmt.Errorf("git %q: %w: %s", args, err, out)
		}
	}
	return nil
}

// authority makes a certificate authority, writes it to the file, and gives what answers any ClientHello with a leaf for its name.
func authority(file string) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "agentjail integration test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return nil, err
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: []string{hello.ServerName}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}
		if hello.ServerName == "" {
			leaf.DNSNames, leaf.IPAddresses = nil, []net.IP{net.IPv4(127, 0, 0, 1)}
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), key)
		if err != nil {
			return nil, err
		}
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
	}, nil
}
