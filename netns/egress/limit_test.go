package egress

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

func TestMaxRequest(t *testing.T) {
	whole := make(chan int64, 10)
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err == nil {
			whole <- n
		}
	}, func(r *Rule) { r.MaxRequest = 1000 })
	post := func(c *http.Client, scheme string, body io.Reader) (*http.Response, error) {
		res, err := c.Post(scheme+"://good.example.com/", "text/plain", body)
		if err == nil {
			res.Body.Close()
		}
		return res, err
	}
	bothVersions(t, func(t *testing.T, version int) {
		c := j.over(version)
		long := strings.Repeat("a", 1001)
		for name, body := range map[string]io.Reader{
			"of known length":   strings.NewReader(long[:1000]),
			"of unknown length": struct{ io.Reader }{strings.NewReader(long[:1000])},
		} {
			if res, err := post(c, "https", body); err != nil || res.StatusCode != 200 {
				t.Errorf("control %s: %v %v", name, res, err)
			} else if n := <-whole; n != 1000 {
				t.Errorf("control %s: %d bytes arrived", name, n)
			}
		}
		for name, body := range map[string]io.Reader{
			"of known length":   strings.NewReader(long),
			"of unknown length": struct{ io.Reader }{strings.NewReader(long)},
			"endless":           &bottomless{},
		} {
			res, err := post(c, "https", body)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			wantReason(t, res, 413, Size)
		}
		if len(whole) > 0 {
			t.Error("a body that is too long ended well at the server")
		}
	})
	e := j.waitDeny(Size)
	if e.Kind != "http.deny" || e.Method != "POST" || e.Status != 413 {
		t.Errorf("event: %+v", e)
	}
}

// bottomless is a body without end; a door that reads it all never answers.
type bottomless struct{}

func (*bottomless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestMaxRequestLate: a body that grows too long after the answer has begun breaks off, and the denial is written down.
func TestMaxRequestLate(t *testing.T) {
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.(http.Flusher).Flush()
		io.Copy(flushing{w}, r.Body)
	}, func(r *Rule) { r.MaxRequest = 1000 })
	bothVersions(t, func(t *testing.T, version int) {
		pr, pw := io.Pipe()
		defer pw.Close()
		res, err := j.over(version).Post("https://good.example.com/", "", pr)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		go func() {
			for range 11 {
				if _, err := pw.Write(make([]byte, 100)); err != nil {
					return
				}
			}
		}()
		if n, err := io.Copy(io.Discard, res.Body); err == nil || n > 1000 {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
	j.waitDeny(Size)
}

// TestMaxUpload: what a session sends under a rule is summed up over requests, connections, hosts of a wildcard and versions, query and
// header included.
func TestMaxUpload(t *testing.T) {
	var seen atomic.Int32
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); seen.Add(1) }, func(r *Rule) { r.MaxUpload = 100_000 })
	send := func(version int, query, body string) *http.Response {
		res, err := j.over(version).Post("https://good.example.com/?"+query, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res
	}
	big := strings.Repeat("a", 40_000)
	for i, res := range []*http.Response{send(1, "", big), send(2, big, "")} {
		if res.StatusCode != 200 {
			t.Errorf("control %d: %s", i, res.Status)
		}
	}
	wantReason(t, send(1, "", big), 413, Size)
	wantReason(t, send(2, "", big), 413, Size)
	if res := send(2, "", "small"); res.StatusCode != 200 {
		t.Errorf("what still fits: %s", res.Status)
	}
	if res, _ := get(t, j.client(), "https://also.example.com/"); res.StatusCode != 200 {
		t.Errorf("another rule: %s", res.Status)
	}
	if seen.Load() != 4 {
		t.Errorf("the server saw %d requests", seen.Load())
	}
}

func TestRequestsUnderWay(t *testing.T) {
	here, release := make(chan struct{}), make(chan struct{})
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			here <- struct{}{}
			<-release
		}
	}, nil)
	j.door.meter.requests, j.door.meter.perHost = 3, 2
	done := make(chan int)
	wait := func(host string) {
		c := j.client()
		go func() {
			res, err := c.Get("https://" + host + "/wait")
			if err != nil {
				t.Error(err)
				done <- 0
				return
			}
			res.Body.Close()
			done <- res.StatusCode
		}()
		<-here
	}
	status := func(host string) int {
		res, _ := get(t, j.client(), "https://"+host+"/")
		if res.StatusCode == 503 {
			wantReason(t, res, 503, Busy)
		}
		return res.StatusCode
	}
	wait("good.example.com")
	if n := status("good.example.com"); n != 200 {
		t.Errorf("one of two: %d", n)
	}
	wait("good.example.com")
	if n := status("good.example.com"); n != 503 {
		t.Errorf("two of two: %d", n)
	}
	if n := status("also.example.com"); n != 200 {
		t.Errorf("another host: %d", n)
	}
	wait("also.example.com")
	if n := status("also.example.com"); n != 503 {
		t.Errorf("three of three: %d", n)
	}
	close(release)
	for range 3 {
		if n := <-done; n != 200 {
			t.Errorf("request that was under way: %d", n)
		}
	}
	if n := status("good.example.com"); n != 200 {
		t.Errorf("afterwards: %d", n)
	}
}

// TestFormOverride: a form says nothing about the method where the rule does, however it is cut into pieces.
func TestFormOverride(t *testing.T) {
	form := func(name string) (kind, body string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		w.WriteField("a", strings.Repeat("x", 5000))
		w.WriteField(name, "delete")
		w.Close()
		return w.FormDataContentType(), b.String()
	}
	const encoded = "application/x-www-form-urlencoded"
	multi, good := form("method")
	multi2, bad := form("_method")
	pad := "a=" + strings.Repeat("x", 5000)
	var seen atomic.Int32
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			seen.Add(1)
		}
	}, func(r *Rule) { r.Methods = []string{"POST"} })
	var passed int32
	for _, tc := range []struct {
		kind, body string
		refused    bool
	}{
		{encoded, pad + "&method=delete", false},
		{encoded, pad + "&x=_method=delete", false},
		{multi, good, false},
		{"text/plain", "_method=delete", false},
		{encoded, "_method=delete", true},
		{encoded, "_method[]=delete", true},
		{encoded, pad + "&_method=delete", true},
		{encoded + "; charset=utf-8", pad + "&%5F%4Dethod=delete", true},
		{encoded, pad + "&_METHOD=delete", true},
		{multi2, bad, true},
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			req, err := http.NewRequest("POST", "https://good.example.com/", &pieces{r: strings.NewReader(tc.body), n: piece})
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", tc.kind)
			res, err := j.client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if tc.refused {
				wantReason(t, res, 403, Method)
			} else if passed++; res.StatusCode != 200 {
				t.Errorf("%s in pieces of %d: %s", tc.body[max(0, len(tc.body)-50):], piece, res.Status)
			}
		}
	}
	if seen.Load() != passed {
		t.Errorf("%d forms arrived whole; want %d", seen.Load(), passed)
	}
}

// pieces reads a few bytes at a time.
type pieces struct {
	r io.Reader
	n int
}

func (p *pieces) Read(b []byte) (int, error) { return p.r.Read(b[:min(len(b), p.n)]) }

// TestRuleIsExplained: who is refused by a rule reads which one it is, what it allows and the stable reason, in both forms, also in
// clear text.
func TestRuleIsExplained(t *testing.T) {
	addr := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "real") })
	rule := Rule{Host: "good.example.com", Ports: []uint16{80}, Connect: addr, Methods: []string{"GET"}, Paths: []string{"/v1/*"}, Why: "my.toml: net.rule[3]"}
	j := newJail(t, []Rule{rule}, nil)
	if res, body := get(t, j.client(), "http://good.example.com/v1/x"); res.StatusCode != 200 || body != "real" {
		t.Errorf("control: %s %s", res.Status, body)
	}
	for reason, raw := range map[Reason]string{
		Method: "DELETE /v1/x HTTP/1.1\r\nHost: good.example.com\r\n",
		Path:   "GET /v2/x HTTP/1.1\r\nHost: good.example.com\r\n",
	} {
		res, text := ask(t, j.dial("good.example.com", 80), raw+"\r\n")
		wantReason(t, res, 403, reason)
		res, json := ask(t, j.dial("good.example.com", 80), raw+"Accept: application/json\r\n\r\n")
		wantReason(t, res, 403, reason)
		for _, want := range []string{"my.toml: net.rule[3]", string(reason), "it allows "} {
			if !strings.Contains(text, want) || !strings.Contains(json, want) {
				t.Errorf("%s: %q is missing in %s or %s", reason, want, text, json)
			}
		}
		if want := fmt.Sprintf(`"reason":"%s"`, reason); !strings.Contains(json, want) || !strings.Contains(json, `"rule":"my.toml: net.rule[3]"`) {
			t.Errorf("%s: %s", reason, json)
		}
		if e := j.waitDeny(reason); e.Kind != "http.deny" || e.Status != 403 {
			t.Errorf("event: %+v", e)
		}
	}
}

// FuzzFormOverride holds that cutting a form into pieces changes nothing.
func FuzzFormOverride(f *testing.F) {
	f.Add([]byte("a=b&_method=delete"), uint8(3), true)
	f.Add([]byte("a=b&%5Fmethod=delete"), uint8(1), true)
	f.Add([]byte("%%5f&%5_method"), uint8(2), true)
	f.Add([]byte("Content-Disposition: form-data; name=\"_method\"\r\n\r\ndelete"), uint8(5), false)
	f.Fuzz(func(t *testing.T, body []byte, piece uint8, encoded bool) {
		read := func(n int) bool {
			kind := "multipart/form-data"
			if encoded {
				kind = "application/x-www-form-urlencoded"
			}
			req := &http.Request{Header: http.Header{"Content-Type": {kind}}, Body: io.NopCloser(&pieces{r: bytes.NewReader(body), n: n})}
			_, err := io.Copy(io.Discard, watchForm(req, &gauge{rule: &Rule{}}))
			return err != nil
		}
		if whole, cut := read(len(body)+1), read(int(piece)+1); whole != cut {
			t.Errorf("%q: refused %v whole and %v in pieces of %d", body, whole, cut, piece)
		}
	})
}
