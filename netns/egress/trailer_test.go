package egress

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// trailing sends one request whose body ends with these trailers, which were announced.
func trailing(t *testing.T, c *http.Client, url string, trailer http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequest("POST", url, struct{ io.Reader }{strings.NewReader("body")})
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	req.Trailer = trailer
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

// trailersOf is a server that gives what trailers came with requests that ended well.
func trailersOf(got chan http.Header) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			got <- r.Trailer
		}
	}
}

func TestTrailersCount(t *testing.T) {
	bothVersions(t, func(t *testing.T, version int) {
		got := make(chan http.Header, 100)
		j := inspectJail(t, trailersOf(got), func(r *Rule) { r.MaxUpload, r.MaxRequest = 20_000, 4_000 })
		c := j.over(version)
		send := func(n int) *http.Response {
			return trailing(t, c, "https://good.example.com/", http.Header{"X-Up": {strings.Repeat("a", n)}})
		}
		if res := send(3500); res.StatusCode != 200 {
			t.Errorf("control: %s", res.Status)
		}
		wantReason(t, send(4000), 413, Size) // max_request: body and trailers
		n := 1
		for ; n < 50 && send(3500).StatusCode == 200; n++ {
		}
		if n > 5 {
			t.Errorf("%d requests with 3500 bytes of trailers passed under 20000 bytes", n)
		}
		wantReason(t, send(3500), 413, Size)
		if len(got) != n {
			t.Errorf("%d requests ended well at the server; want %d", len(got), n)
		}
	})
}

// TestTrailersAreBounded: over HTTP/2 as over HTTP/1, where the rule has no bound.
func TestTrailersAreBounded(t *testing.T) {
	got := make(chan http.Header, 100)
	j := inspectJail(t, trailersOf(got), nil)
	bothVersions(t, func(t *testing.T, version int) {
		res := trailing(t, j.over(version), "https://good.example.com/", http.Header{"X-Up": {strings.Repeat("a", maxTrail+1)}})
		wantReason(t, res, 400, BadRequest)
	})
	if len(got) > 0 {
		t.Error("a request ended well at the server")
	}
}

// TestTrailersAreJudged: a field that servers take for a header field is judged as one.
func TestTrailersAreJudged(t *testing.T) {
	bothVersions(t, func(t *testing.T, version int) {
		got := make(chan http.Header, 100)
		j := inspectJail(t, trailersOf(got), func(r *Rule) { r.Methods, r.Paths = []string{"POST"}, []string{"/**"} })
		for name, why := range map[string]Reason{
			"X-HTTP-Method-Override": Method, "X_HTTP_Method": Method, "X-Original-Method": Method, "X-Original-URL": Path, "X-Rewrite-Url": Path, "X-Checksum": "",
		} {
			for _, host := range []string{"good", "also"} { // the second rule says nothing
				res := trailing(t, j.over(version), "https://"+host+".example.com/", http.Header{name: {"DELETE"}})
				if host == "good" && why != "" {
					wantReason(t, res, 403, why)
				} else if h := <-got; res.StatusCode != 200 || h.Get(name) != "DELETE" {
					t.Errorf("%s to %s: %s, %v", name, host, res.Status, h)
				}
			}
		}
		res := trailing(t, j.over(version), "https://good.example.com/", http.Header{"X-Forwarded-Host": {"evil.example.com"}, "X-Sum": {"1"}})
		if h := <-got; res.StatusCode != 200 || h.Get("X-Forwarded-Host") != "" || h.Get("X-Sum") != "1" {
			t.Errorf("another host: %s, %v", res.Status, h)
		}
	})
}

func TestTrailersOfAnother(t *testing.T) {
	for _, pin := range []bool{true, false} {
		t.Run(fmt.Sprintf("pin %v", pin), func(t *testing.T) {
			got := make(chan http.Header, 100)
			addr, ca := manyBackend(t, trailersOf(got), apiHost)
			j := newJail(t, []Rule{{Host: apiHost, Ports: []uint16{443}, Connect: addr, UpstreamCA: ca.PEM(), Why: "test"}}, func(c *Config) {
				c.Policy.Secrets = []Secret{apiSecret("", pin)}
				c.Secrets = values{"api": apiReal}.get
			})
			bothVersions(t, func(t *testing.T, version int) {
				for name, value := range map[string]string{"Authorization": "Bearer foreign", "X-Api-Key": "foreign", "X-Sum": other} {
					if version == 2 && name == "Authorization" {
						continue // net/http ends the stream (RFC 9110 section 6.5.1)
					}
					res := trailing(t, j.over(version), "https://"+apiHost+"/", http.Header{name: {value}})
					if pin {
						wantReason(t, res, 403, ForeignCredential)
					} else if h := <-got; res.StatusCode != 200 || h.Get(name) != value {
						t.Errorf("%s: %s, %v", name, res.Status, h)
					}
				}
				res := trailing(t, j.over(version), "https://"+apiHost+"/", http.Header{"X-Sum": {"7"}, "Cookie": {"a=b"}})
				if h := <-got; res.StatusCode != 200 || h.Get("X-Sum") != "7" || pin && h.Get("Cookie") != "" {
					t.Errorf("no credential: %s, %v", res.Status, h)
				}
			})
		})
	}
}

// TestTrailersUnannounced: HTTP/1 passes them on, and they are judged.
func TestTrailersUnannounced(t *testing.T) {
	got := make(chan http.Header, 100)
	j := inspectJail(t, trailersOf(got), func(r *Rule) { r.Methods, r.MaxRequest = []string{"POST"}, 1000 })
	send := func(trailer string) *http.Response {
		res, _ := ask(t, j.tls("good.example.com", 443), "POST / HTTP/1.1\r\nHost: good.example.com\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"+
			"4\r\nbody\r\n0\r\n"+trailer+"\r\n\r\n")
		return res
	}
	if res := send("X-Up: 7"); res.StatusCode != 200 {
		t.Errorf("%s", res.Status)
	} else if h := <-got; h.Get("X-Up") != "7" {
		t.Errorf("trailers: %v", h)
	}
	wantReason(t, send("X-Http-Method-Override: DELETE"), 403, Method)
	wantReason(t, send("X-Up: "+strings.Repeat("a", 1000)), 413, Size)
	if len(got) > 0 {
		t.Error("a request ended well at the server")
	}
}
