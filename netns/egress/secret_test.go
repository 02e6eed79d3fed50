package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
)

const (
	apiHost  = "api.example.com"
	apiReal  = "sk-ant-api03-realrealrealrealrealrealrealrealrealreal-AA"
	apiShown = "sk-ant-api03-sshownshownshownshownshownshownshownshow-AA"
	gitReal  = "ghp_RealRealRealRealRealRealRealRealReal"
	gitShown = "ghp_ShowShowShowShowShowShowShowShowShow"
	other    = "sk-ant-api03-otherotherotherotherotherotherotherothe-CC"
)

// courier sends requests as the door does: through the vault, over real HTTP.
type courier struct {
	vault  *vault
	host   string
	secure bool
	base   http.RoundTripper
	errand *errand
}

func (c *courier) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, end := context.WithCancelCause(req.Context())
	req = req.WithContext(ctx)
	e, why := c.vault.outgoing(req, target{host: c.host, port: 443}, c.secure, end)
	if why != nil {
		return nil, why
	}
	c.errand = e
	res, err := c.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if why := e.incoming(res); why != nil {
		_ = res.Body.Close()
		return nil, why
	}
	return res, nil
}

// values is a source of secrets; an error's text is a value, too.
type values map[string]string

func (v values) get(_ context.Context, name string) (string, error) {
	switch value := v[name]; value {
	case "":
		return "", errors.New("no such secret")
	case "revoked":
		return "", fmt.Errorf("session: %w", ErrRevoked)
	default:
		return value, nil
	}
}

func apiSecret(header string, pin bool) Secret {
	return Secret{Name: "api", Placeholder: apiShown, Hosts: []string{apiHost}, Header: header, Pin: pin, Why: "test"}
}

func gitSecret() Secret {
	return Secret{Name: "git", Placeholder: gitShown, Hosts: []string{"git.example.com", "*.git.example.com"}, Why: "test"}
}

// post is a courier to host, and a server that says what it got.
func post(t *testing.T, host string, h http.HandlerFunc, get values, secrets ...Secret) *courier {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	v, err := newVault(secrets, get.get)
	if err != nil {
		t.Fatal(err)
	}
	to := strings.TrimPrefix(server.URL, "http://")
	tr := &http.Transport{DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &courier{vault: v, host: host, secure: true, base: redirected{tr, to}}
}

// redirected sends every request to one address.
type redirected struct {
	*http.Transport
	to string
}

func (r redirected) RoundTrip(req *http.Request) (*http.Response, error) {
	req.URL.Scheme, req.URL.Host = "http", r.to
	return r.Transport.RoundTrip(req)
}

// send makes a request with pairs of header names and values.
func (c *courier) send(t *testing.T, method, rawURL string, body io.Reader, header ...string) (*http.Response, string, error) {
	t.Helper()
	req, err := http.NewRequest(method, rawURL, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := c.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	return res, string(text), err
}

func basic(pair string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair)) }

// TestSwapOnTheWayOut: what the server gets, and what is refused. got is "query | each credential".
func TestSwapOnTheWayOut(t *testing.T) {
	for _, tc := range []struct {
		name, place string
		pin         bool
		url         string
		header      []string
		got         string
		reason      Reason
	}{
		{"bearer", "", true, "/", []string{"Authorization", "Bearer " + apiShown}, "|Authorization=Bearer " + apiReal, ""},
		{"scheme in small letters", "", true, "/", []string{"Authorization", "bearer  " + apiShown}, "|Authorization=bearer " + apiReal, ""},
		{"token", "", true, "/", []string{"Authorization", "token " + apiShown}, "|Authorization=token " + apiReal, ""},
		{"no scheme", "Authorization", true, "/", []string{"Authorization", apiShown}, "|Authorization=" + apiReal, ""},
		{"basic password", "", true, "/", []string{"Authorization", basic("x-access-token:" + apiShown)}, "|Authorization=" + basic("x-access-token:"+apiReal), ""},
		{"basic user", "", true, "/", []string{"Authorization", basic(apiShown + ":x-oauth-basic")}, "|Authorization=" + basic(apiReal+":x-oauth-basic"), ""},
		{"basic without padding", "", true, "/", []string{"Authorization", strings.TrimRight(basic("x:"+apiShown), "=")}, "|Authorization=" + basic("x:"+apiReal), ""},
		{"header of its own", "x-api-key", true, "/", []string{"X-Api-Key", apiShown}, "|X-Api-Key=" + apiReal, ""},
		{"query", "query:key", true, "/v1?a=1&key=" + apiShown + "&b=%zz", nil, "a=1&key=" + apiReal + "&b=%zz|", ""},
		{"no credential", "", true, "/?a=1", nil, "a=1|", ""},
		{"key of an idempotent request", "", true, "/", []string{"Idempotency-Key", other[:12]}, "|Idempotency-Key=" + other[:12], ""},

		// Another's, where the secret is pinned.
		{"foreign bearer", "", true, "/", []string{"Authorization", "Bearer " + other}, "", ForeignCredential},
		{"foreign in front", "", true, "/", []string{"Authorization", "Bearer " + other + "," + apiShown}, "", ForeignCredential},
		{"foreign behind", "", true, "/", []string{"Authorization", "Bearer " + apiShown + " " + other}, "", ForeignCredential},
		{"foreign beside", "", true, "/", []string{"Authorization", "Bearer " + apiShown, "X-Api-Key", other}, "", ForeignCredential},
		{"foreign line", "", true, "/", []string{"Authorization", "Bearer " + apiShown, "Authorization", "Bearer " + other}, "", ForeignCredential},
		{"foreign x-api-key", "", true, "/", []string{"X-Api-Key", other}, "", ForeignCredential},
		{"foreign api-key", "", true, "/", []string{"Api-Key", "anything"}, "", ForeignCredential},
		{"foreign x_api_key", "", true, "/", []string{"X_Api_Key", "anything"}, "", ForeignCredential},
		{"foreign x-goog-api-key", "", true, "/", []string{"X-Goog-Api-Key", "anything"}, "", ForeignCredential},
		{"foreign proxy", "", true, "/", []string{"Proxy-Authorization", basic("a:b")}, "", ForeignCredential},
		{"foreign basic", "", true, "/", []string{"Authorization", basic("a:b")}, "", ForeignCredential},
		{"foreign user of a pair", "", true, "/", []string{"Authorization", basic(other + ":" + apiShown)}, "", ForeignCredential},
		{"foreign password of a pair", "", true, "/", []string{"Authorization", basic(apiShown + ":" + other)}, "", ForeignCredential},
		{"pair that is no base64", "", true, "/", []string{"Authorization", "Basic !"}, "", ForeignCredential},
		{"foreign digest", "", true, "/", []string{"Authorization", `Digest username="a"`}, "", ForeignCredential},
		{"foreign query", "", true, "/?key=anything", nil, "", ForeignCredential},
		{"foreign query, escaped", "", true, "/?%6bey=anything", nil, "", ForeignCredential},
		{"foreign query, array", "", true, "/?key[]=anything", nil, "", ForeignCredential},
		{"foreign query, semicolon", "", true, "/?a=1;access_token=anything", nil, "", ForeignCredential},
		{"foreign query beside", "", true, "/?key=anything", []string{"Authorization", "Bearer " + apiShown}, "", ForeignCredential},
		{"foreign in two", "query:key", true, "/?key=" + apiShown + "&key=" + other, nil, "", ForeignCredential},
		{"presigned", "", true, "/?X-Amz-Signature=00&X-Amz-Credential=a", nil, "", ForeignCredential},
		{"a key in another field", "", true, "/", []string{"Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key." + other}, "", ForeignCredential},
		{"a key in another parameter", "", true, "/?q=" + other, nil, "", ForeignCredential},
		{"user in the target", "", true, "http://a:b@" + apiHost + "/", nil, "", ForeignCredential},

		// What is stripped.
		{"cookie", "", true, "/", []string{"Authorization", "Bearer " + apiShown, "Cookie", "__cf_bm=1"}, "|Authorization=Bearer " + apiReal, ""},
		{"cookie alone", "", true, "/", []string{"Cookie", "__cf_bm=1"}, "|", ""},
		{"placeholder in another carrier too", "x-api-key", true, "/?key=" + apiShown, []string{"X-Api-Key", apiShown, "Authorization", "Bearer " + apiShown}, "|X-Api-Key=" + apiReal, ""},
		{"placeholder in another carrier alone", "x-api-key", true, "/", []string{"Authorization", "Bearer " + apiShown}, "|", ""},
		{"empty", "x-api-key", true, "/", []string{"X-Api-Key", apiShown, "Authorization", "Bearer "}, "|X-Api-Key=" + apiReal, ""},
		{"others, unpinned", "x-api-key", false, "/?access_token=1&b=2", []string{"X-Api-Key", apiShown, "Authorization", "Bearer " + other}, "b=2|X-Api-Key=" + apiReal, ""},

		// Controls: the same without pin.
		{"foreign bearer, unpinned", "", false, "/", []string{"Authorization", "Bearer " + other}, "|Authorization=Bearer " + other, ""},
		{"foreign query, unpinned", "", false, "/?key=anything", nil, "key=anything|", ""},
		{"cookie, unpinned", "", false, "/", []string{"Cookie", "a=1"}, "|Cookie=a=1", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := ""
			c := post(t, apiHost, func(w http.ResponseWriter, r *http.Request) {
				got = r.URL.RawQuery + "|"
				for _, name := range []string{"Authorization", "X-Api-Key", "Cookie", "Proxy-Authorization", "Idempotency-Key"} {
					for _, v := range r.Header[name] {
						got += name + "=" + v
					}
				}
				if r.Header.Get("Accept-Encoding") != "identity" {
					t.Errorf("Accept-Encoding %q", r.Header.Get("Accept-Encoding"))
				}
			}, values{"api": apiReal}, apiSecret(tc.place, tc.pin), gitSecret())
			target := tc.url
			if strings.HasPrefix(target, "/") {
				target = "http://" + apiHost + target
			}
			_, _, err := c.send(t, "GET", target, nil, tc.header...)
			if tc.reason != "" {
				wantRefusal(t, err, tc.reason)
				if got != "" {
					t.Errorf("the server got %q", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.got {
				t.Errorf("got %q, want %q", got, tc.got)
			}
			if used := strings.Contains(tc.got, apiReal) || strings.Contains(tc.got, "Basic"); used != (len(c.errand.used) == 1) {
				t.Errorf("used: %q", c.errand.used)
			}
		})
	}
}

// wantRefusal wants an error that is a refusal and says nothing of a value or a foreign credential.
func wantRefusal(t *testing.T, err error, reason Reason) {
	t.Helper()
	var why *refusal
	if !errors.As(err, &why) || why.reason != reason {
		t.Fatalf("%v, want a refusal: %s", err, reason)
	}
	for _, secret := range []string{apiReal, gitReal, other} {
		if strings.Contains(fmt.Sprintf("%+v %v", why, why.event("http.deny")), secret) {
			t.Errorf("the refusal holds a credential: %v", why)
		}
	}
}

// TestPlaceholderElsewhere: a placeholder on its way to another host is refused wherever it stands, and the server gets nothing.
func TestPlaceholderElsewhere(t *testing.T) {
	for _, host := range []string{"elsewhere.example.com", apiHost, "git.example.com.example.com", "xgit.example.com"} {
		for name, send := range map[string]func(c *courier) error{
			"path":   func(c *courier) error { return justErr(c.send(t, "GET", "http://h/a/"+gitShown, nil)) },
			"query":  func(c *courier) error { return justErr(c.send(t, "GET", "http://h/?a="+percentAll(gitShown), nil)) },
			"header": func(c *courier) error { return justErr(c.send(t, "GET", "http://h/", nil, "X-Note", "a "+gitShown)) },
			"name":   func(c *courier) error { return justErr(c.send(t, "GET", "http://h/", nil, gitShown, "1")) },
			"method": func(c *courier) error { return justErr(c.send(t, gitShown, "http://h/", nil)) },
			"bearer": func(c *courier) error {
				return justErr(c.send(t, "GET", "http://h/", nil, "Authorization", "Bearer "+gitShown))
			},
			"basic": func(c *courier) error {
				return justErr(c.send(t, "GET", "http://h/", nil, "Authorization", basic("u:"+gitShown)))
			},
			"user": func(c *courier) error { return justErr(c.send(t, "GET", "http://"+gitShown+"@h/", nil)) },
			"body": func(c *courier) error {
				return justErr(c.send(t, "POST", "http://h/", strings.NewReader("a="+gitShown)))
			},
			"big body": func(c *courier) error { return justErr(c.send(t, "POST", "http://h/", megabytes(gitShown))) },
			"multipart": func(c *courier) error {
				part := "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
				body := part + wrapped(base64.StdEncoding.EncodeToString([]byte("some words before "+gitShown))) + "\r\n--b--\r\n"
				return justErr(c.send(t, "POST", "http://h/", strings.NewReader(body), "Content-Type", "multipart/form-data; boundary=b"))
			},
			"gzip": func(c *courier) error { return sendPacked(t, c, "gzip", packed("gzip", gitShown)) },
			"gzip, then much else": func(c *courier) error {
				return sendPacked(t, c, "gzip", packed("gzip", gitShown+string(noise(1<<20))))
			},
			"much else, then gzip": func(c *courier) error {
				return sendPacked(t, c, "x-gzip", packed("gzip", string(noise(1<<20))+base64.StdEncoding.EncodeToString([]byte(gitShown))))
			},
			"two members": func(c *courier) error {
				return sendPacked(t, c, "gzip", append(packed("gzip", "a"+gitShown[:20]), packed("gzip", gitShown[20:])...))
			},
			"deflate":       func(c *courier) error { return sendPacked(t, c, "deflate", packed("zlib", gitShown)) },
			"deflate, bare": func(c *courier) error { return sendPacked(t, c, "Deflate", packed("flate", gitShown)) },
			"gzip in deflate": func(c *courier) error {
				return sendPacked(t, c, "gzip, deflate", packed("zlib", string(packed("gzip", gitShown))))
			},
		} {
			t.Run(host+" "+name, func(t *testing.T) {
				whole := make(chan string, 1)
				c := post(t, host, func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err == nil || strings.Contains(string(body), gitShown) {
						whole <- r.RequestURI
					}
				}, values{"api": apiReal, "git": gitReal}, apiSecret("", true), gitSecret())
				wantRefusal(t, send(c), PlaceholderLeak)
				select {
				case uri := <-whole:
					t.Errorf("the server got %s", uri)
				default:
				}
			})
		}
	}
	// Controls: its own host, and text that is none.
	for _, host := range []string{"git.example.com", "a.b.git.example.com"} {
		c := post(t, host, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }, values{"git": gitReal}, apiSecret("", true), gitSecret())
		if _, text, err := c.send(t, "POST", "http://h/", strings.NewReader("a="+gitShown), "X-Note", gitShown); err != nil || text != "a="+gitShown {
			t.Errorf("%s: %q, %v", host, text, err)
		}
	}
	c := post(t, "elsewhere.example.com", func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }, values{"git": gitReal}, gitSecret())
	if _, text, err := c.send(t, "POST", "http://h/", strings.NewReader("a="+gitShown[:20])); err != nil || text != "a="+gitShown[:20] {
		t.Errorf("elsewhere: %q, %v", text, err)
	}
}

// wrapped breaks text into lines as base64 of mail has them.
func wrapped(s string) string {
	var lines []string
	for len(s) > 20 {
		lines, s = append(lines, s[:20]), s[20:]
	}
	return strings.Join(append(lines, s), "\r\n")
}

func sendPacked(t *testing.T, c *courier, encoding string, body []byte) error {
	return justErr(c.send(t, "POST", "http://h/", bytes.NewReader(body), "Content-Encoding", encoding))
}

func justErr(_ *http.Response, _ string, err error) error { return err }

// megabytes is a body of no length that holds the text after a megabyte.
func megabytes(text string) io.Reader {
	return io.MultiReader(bytes.NewReader(bytes.Repeat([]byte("x%41"), 1<<18)), strings.NewReader(text), bytes.NewReader(make([]byte, 1<<20)))
}

// TestLateLeak: the refusal of a body is known to the errand also when an answer was there before.
func TestLateLeak(t *testing.T) {
	answered := make(chan struct{})
	c := post(t, "elsewhere.example.com", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		_, _ = io.Copy(io.Discard, r.Body)
	}, nil, gitSecret())
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, "begin")
		<-answered
		_, _ = io.WriteString(w, gitShown)
		_ = w.Close()
	}()
	req, err := http.NewRequest("POST", "http://h/", r)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	if c.errand.late.Load() != nil {
		t.Error("control: refused before")
	}
	close(answered)
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the answer ended well")
	}
	_ = res.Body.Close()
	wantRefusal(t, c.errand.late.Load(), PlaceholderLeak)
}

// TestClearText: without TLS no host is the secret's.
func TestClearText(t *testing.T) {
	c := post(t, apiHost, func(w http.ResponseWriter, r *http.Request) {}, values{"api": apiReal}, apiSecret("", true))
	c.secure = false
	_, _, err := c.send(t, "GET", "http://h/", nil, "Authorization", "Bearer "+apiShown)
	wantRefusal(t, err, PlaceholderLeak)
	c.secure = true
	if _, _, err = c.send(t, "GET", "http://h/", nil, "Authorization", "Bearer "+apiShown); err != nil {
		t.Errorf("control: %v", err)
	}
}

// TestRevoked: a secret stops in the middle of a session, and comes back as another value; a source's error is told, its value is not.
func TestRevoked(t *testing.T) {
	get := values{"api": apiReal}
	c := post(t, apiHost, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Header.Get("Authorization")) }, get, apiSecret("", true))
	ask := func() (string, error) {
		_, text, err := c.send(t, "GET", "http://h/", nil, "Authorization", "Bearer "+apiShown)
		return text, err
	}
	if text, err := ask(); err != nil || text != "Bearer "+apiShown {
		t.Fatalf("control: %q, %v", text, err)
	}
	get["api"] = "revoked"
	_, err := ask()
	wantRefusal(t, err, Revoked)
	if _, _, err := c.send(t, "GET", "http://h/", nil); err != nil {
		t.Errorf("control: without the secret: %v", err)
	}
	get["api"] = other
	if text, err := ask(); err != nil || text != "Bearer "+apiShown {
		t.Errorf("a new value: %q, %v", text, err)
	}
	for _, bad := range []string{"", "short", "line\nend of the line", "Bearer ä is not ASCII", apiShown} {
		get["api"] = bad
		_, err := ask()
		wantRefusal(t, err, NoSecret)
		if bad != "" && strings.Contains(strings.ReplaceAll(err.Error(), "shorter than", ""), bad) {
			t.Errorf("the error holds the value: %v", err)
		}
	}
	c.vault.get = func(context.Context, string) (string, error) { return "", errors.New("cmd says " + apiReal) }
	_, err = ask()
	wantRefusal(t, err, NoSecret)
}

// TestSwapOnTheWayIn: a value that comes back is a placeholder when it arrives.
func TestSwapOnTheWayIn(t *testing.T) {
	zipped := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = io.WriteString(w, text)
		_ = w.Close()
		return b.String()
	}
	for _, tc := range []struct {
		name   string
		answer func(w http.ResponseWriter, key string)
		want   string
		length int64
		reason Reason
	}{
		{"body", func(w http.ResponseWriter, key string) { _, _ = io.WriteString(w, "you are "+key) }, "you are " + apiShown, int64(8 + len(apiShown)), ""},
		{"base64", func(w http.ResponseWriter, key string) { _, _ = io.WriteString(w, basic("u:"+key+"..")) }, basic("u:" + apiShown + ".."), int64(len(basic("u:" + apiShown + ".."))), ""},
		{"escaped", func(w http.ResponseWriter, key string) { _, _ = io.WriteString(w, eachByte(`\u%04x`, key)) }, eachByte(`\u%04x`, apiShown), int64(6 * len(apiShown)), ""},
		{"stream", func(w http.ResponseWriter, key string) {
			for i := range key {
				_, _ = io.WriteString(w, key[i:i+1])
				_ = http.NewResponseController(w).Flush()
			}
		}, apiShown, -1, ""},
		{"gzip all the same", func(w http.ResponseWriter, key string) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, zipped("you are "+key))
		}, "you are " + apiShown, -1, ""},
		{"another encoding", func(w http.ResponseWriter, key string) {
			w.Header().Set("Content-Encoding", "br")
			_, _ = io.WriteString(w, "whatever")
		}, "", 0, Encoding},
		{"empty", func(w http.ResponseWriter, key string) { w.WriteHeader(204) }, "", 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := post(t, apiHost, func(w http.ResponseWriter, r *http.Request) {
				key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
				if key != apiReal {
					t.Errorf("the server got %q", key)
				}
				w.Header().Set("X-Echo", "a "+key+" b")
				w.Header().Set("X-"+key, "y")
				w.Header().Set("Location", "/?"+url.QueryEscape(key))
				w.Header().Set("Trailer", "X-End")
				defer w.Header().Set("X-End", key)
				tc.answer(w, key)
			}, values{"api": apiReal}, apiSecret("", true))
			res, text, err := c.send(t, "GET", "http://h/", nil, "Authorization", "Bearer "+apiShown, "Accept-Encoding", "gzip, br", "Range", "bytes=0-3")
			if tc.reason != "" {
				wantRefusal(t, err, tc.reason)
				return
			}
			if err != nil || text != tc.want {
				t.Fatalf("%q, %v", text, err)
			}
			if res.Header.Get("X-"+apiShown) != "y" {
				t.Errorf("the name of a field: %v", res.Header)
			}
			if res.Header.Get("X-Echo") != "a "+apiShown+" b" || res.Header.Get("Location") != "/?"+apiShown || strings.Contains(strings.ToLower(fmt.Sprint(res.Header, res.Trailer)), strings.ToLower(apiReal)) {
				t.Errorf("%v %v", res.Header, res.Trailer)
			}
			if len(res.Trailer) > 0 && res.Trailer.Get("X-End") != apiShown {
				t.Errorf("trailer: %v", res.Trailer)
			}
			if res.Header.Get("Trailer") == "" && res.ContentLength != tc.length && len(res.Trailer) == 0 {
				t.Errorf("length %d, want %d", res.ContentLength, tc.length)
			}
		})
	}
}

// TestLengthChanges: a placeholder of another length takes the Content-Length along; a HEAD keeps it, and so does an answer of another host.
func TestLengthChanges(t *testing.T) {
	long := Secret{Name: "api", Placeholder: "a-long-placeholder-for-one-that-is-short", Hosts: []string{apiHost}}
	get := values{"api": "short-value"}
	h := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "14")
		_, _ = io.WriteString(w, "is short-value")
	}
	for _, tc := range []struct {
		host, method string
		length       int64
		want         string
	}{
		{apiHost, "GET", -1, "is a-long-placeholder-for-one-that-is-short"}, {apiHost, "HEAD", 14, ""}, {"elsewhere.example.com", "GET", 14, "is short-value"},
	} {
		c := post(t, tc.host, h, get, long)
		var header []string
		if tc.host == apiHost {
			header = []string{"Authorization", "Bearer " + long.Placeholder}
		}
		res, text, err := c.send(t, tc.method, "http://h/", nil, header...)
		if err != nil || text != tc.want || res.ContentLength != tc.length || (res.Header.Get("Content-Length") == "") != (tc.length < 0) {
			t.Errorf("%s %s: %q, %v, %v", tc.method, tc.host, text, res, err)
		}
	}
}

// TestInformational: a value in the header of a 1xx answer.
func TestInformational(t *testing.T) {
	c := post(t, apiHost, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusEarlyHints)
	}, values{"api": apiReal}, apiSecret("", true))
	req, err := http.NewRequest("GET", "http://h/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiShown)
	var early string
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
		if h.Get("Link") != "Bearer "+apiReal {
			t.Errorf("control: %q", h.Get("Link"))
		}
		c.errand.scrubHeader(http.Header(h))
		early = h.Get("Link")
		return nil
	}}))
	res, err := c.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if early != "Bearer "+apiShown {
		t.Errorf("early %q", early)
	}
}

func TestNewVaultRefuses(t *testing.T) {
	for name, change := range map[string]func(*Secret){
		"no placeholder":    func(s *Secret) { s.Placeholder = "" },
		"line end":          func(s *Secret) { s.Placeholder += "\n" },
		"public suffix":     func(s *Secret) { s.Hosts = []string{"*.com"} },
		"spelling":          func(s *Secret) { s.Hosts = []string{"API.example.com"} },
		"no name":           func(s *Secret) { s.Header = ": Bearer" },
		"no header":         func(s *Secret) { s.Header = "x api key" },
		"no parameter":      func(s *Secret) { s.Header = "query:" },
		"odd parameter":     func(s *Secret) { s.Header = "query:a&b" },
		"another's":         func(s *Secret) { s.Placeholder = gitShown },
		"another's, longer": func(s *Secret) { s.Placeholder = gitShown[8:] },
	} {
		s := apiSecret("", true)
		change(&s)
		if _, err := newVault([]Secret{gitSecret(), s}, nil); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	v, err := newVault([]Secret{gitSecret(), apiSecret("query:key", true)}, nil)
	if err != nil || !v.owns(apiHost) || !v.owns("x.git.example.com") || v.owns("example.com") {
		t.Errorf("control: %v", err)
	}
}

// TestValueFromBefore: what another session had the host store is a placeholder in the first answer of this one, over TLS and in clear
// text, to requests that carry nothing.
func TestValueFromBefore(t *testing.T) {
	stored := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Stored", apiReal)
		_, _ = io.WriteString(w, "stored: "+apiReal)
	}
	knows := func(value string) func(context.Context, string) (string, error) {
		return func(context.Context, string) (string, error) { return value, nil }
	}
	for name, tc := range map[string]struct {
		host   string
		secure bool
		source values
		known  func(context.Context, string) (string, error)
		want   string
	}{
		"TLS":                         {apiHost, true, values{"api": apiReal}, nil, apiShown},
		"clear text":                  {apiHost, false, values{"api": apiReal}, nil, apiShown},
		"revoked before its use":      {apiHost, true, values{"api": "revoked"}, knows(apiReal), apiShown},
		"the source is not asked":     {apiHost, true, values{"api": other}, knows(apiReal), apiShown},
		"control: no source":          {apiHost, true, values{}, nil, apiReal},
		"control: the placeholder":    {apiHost, true, values{"api": apiShown}, nil, apiReal},
		"control: another host":       {"elsewhere.example.com", true, values{"api": apiReal}, nil, apiReal},
		"control: another host, bare": {"elsewhere.example.com", false, values{"api": apiReal}, nil, apiReal},
	} {
		t.Run(name, func(t *testing.T) {
			c := post(t, tc.host, stored, tc.source, apiSecret("", true))
			c.secure, c.vault.known = tc.secure, tc.known
			res, text, err := c.send(t, "GET", "http://h/", nil)
			if err != nil || text != "stored: "+tc.want || res.Header.Get("X-Stored") != tc.want {
				t.Errorf("%q, %v, %v", text, res, err)
			}
			if len(c.errand.used) != 0 {
				t.Errorf("used: %q", c.errand.used)
			}
		})
	}
}

// TestNewValue: a source that gives another value has both looked for, also when nothing used the new one.
func TestNewValue(t *testing.T) {
	get := values{"api": apiReal}
	c := post(t, apiHost, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, apiReal+" "+other) }, get, apiSecret("", true))
	if _, text, err := c.send(t, "GET", "http://h/", nil); err != nil || text != apiShown+" "+other {
		t.Errorf("control: %q, %v", text, err)
	}
	get["api"] = other
	if _, text, err := c.send(t, "GET", "http://h/", nil); err != nil || text != apiShown+" "+apiShown {
		t.Errorf("%q, %v", text, err)
	}
}
