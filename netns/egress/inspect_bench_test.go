package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"
)

// BenchmarkRequest is a warm request: what inspection and judging cost beside a tunnel.
func BenchmarkRequest(b *testing.B) {
	for _, rule := range []Rule{
		{Why: "tunnel"},
		{Why: "inspected", TLS: "inspect"},
		{Why: "judged", Methods: []string{"GET"}, Paths: []string{"/v1/**"}, MaxUpload: 1 << 50},
	} {
		for _, version := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/HTTP%d", rule.Why, version), func(b *testing.B) {
				c := benchClient(b, rule, version)
				benchGet(b, c)
				b.ResetTimer()
				for b.Loop() {
					benchGet(b, c)
				}
			})
		}
	}
}

// BenchmarkConnection is a new connection and a request: a leaf was made before.
func BenchmarkConnection(b *testing.B) {
	for _, rule := range []Rule{{Why: "tunnel"}, {Why: "inspected", TLS: "inspect"}} {
		b.Run(rule.Why, func(b *testing.B) {
			c := benchClient(b, rule, 1)
			for b.Loop() {
				benchGet(b, c)
				c.CloseIdleConnections()
			}
		})
	}
}

func BenchmarkLeaf(b *testing.B) {
	ca, err := NewCA(time.Now())
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	for b.Loop() {
		if _, err := ca.Leaf(fmt.Sprintf("h%d.example.com", n)); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

func benchGet(b *testing.B, c *http.Client) {
	res, err := c.Get("https://good.example.com/v1/x")
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	if res.Body.Close(); res.StatusCode != 200 {
		b.Fatal(res.Status)
	}
}

// benchClient gives a client behind a door with one rule and a real server.
func benchClient(b *testing.B, rule Rule, version int) *http.Client {
	ca, err := NewCA(time.Now())
	if err != nil {
		b.Fatal(err)
	}
	leaf, err := ca.Leaf("good.example.com")
	if err != nil {
		b.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}}
	s.StartTLS()
	b.Cleanup(s.Close)
	rule.Host, rule.Ports, rule.Connect, rule.UpstreamCA = "good.example.com", []uint16{443}, s.Listener.Addr().String(), ca.PEM()
	d, err := New(Config{Policy: &Policy{Allow: []Rule{rule}}, CA: ca, Gateway: testGateway, Explain: testExplain, Range: testRange})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { d.Close() })
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		b.Fatal(err)
	}
	go func() { _ = d.Serve(context.Background(), portListener{l, 443}) }()
	host, _ := d.names.Addr("good.example.com")
	addr := net.JoinHostPort(host.String(), strconv.Itoa(int(portOf(l))))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM())
	tr := &http.Transport{
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return net.Dial("tcp4", addr) },
		TLSClientConfig: &tls.Config{RootCAs: pool},
		Protocols:       new(http.Protocols),
	}
	tr.Protocols.SetHTTP1(version == 1)
	tr.Protocols.SetHTTP2(version == 2)
	b.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}
