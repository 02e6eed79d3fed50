package egress

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// FuzzBatch holds what is read of an LFS batch against encoding/json, which takes the last of several, in any case: what two
// readers could take for another operation is an error.
func FuzzBatch(f *testing.F) {
	for _, s := range []string{`{"operation":"download","transfers":["basic"],"objects":[{"oid":"a","size":1}]}`,
		`{"operation":"download","operation":"upload"}`,
		`{"Operation":"upload","operation":"download"}`, `{"o\u0070eration":"upload"}`, `{"operation":"download"}{}`,
		`{"operation":null}`, `[]`, `{"a":{"operation":"upload"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := batchOperation(body)
		if err != nil {
			return
		}
		var want struct{ Operation string }
		if err := json.Unmarshal(body, &want); err != nil || want.Operation != got {
			t.Errorf("%q: %q, encoding/json %q, %v", body, got, want.Operation, err)
		}
		var exact map[string]any
		if json.Unmarshal(body, &exact) == nil && got != "" && exact["operation"] != got {
			t.Errorf("%q: %q, and by its exact name %v", body, got, exact["operation"])
		}
	})
}

// FuzzServerFrames: however a server's frames are cut, the jail gets the same, a value in one frame never, and memory is bounded.
func FuzzServerFrames(f *testing.F) {
	f.Add([]byte(said(wsText, "a "+fakeGitHub+" b")), 3, fakeGitHub)
	f.Add([]byte(said(wsMore, fakeGitHub[:9])+said(wsPing, fakeGitHub)+said(wsLast, fakeGitHub[9:])), 1, "x")
	f.Add([]byte("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xffx"), 7, "")
	f.Add([]byte("\x81\x85\x00\x00\x00\x00hello"), 2, "masked")
	made := newSwap([]string{fakeGitHub}, fakePlaceholder)
	read := func(in []byte, piece int) (string, bool) {
		refused := false
		s := &socketed{swaps: func() []*swap { return []*swap{made} },
			refuse:          func(string) error { refused = true; return io.ErrUnexpectedEOF },
			ReadWriteCloser: pipe{Reader: &pieces{r: bytes.NewReader(in), n: piece}}}
		out, _ := io.ReadAll(s)
		return string(out), refused
	}
	f.Fuzz(func(t *testing.T, in []byte, piece int, text string) {
		whole, refused := read(in, len(in)+1)
		parts, also := read(in, 1+max(0, piece)%64)
		// Frames are cut where the pieces are; what they say is the same.
		if refused != also {
			t.Fatalf("%q: refused %v whole, %v in pieces", in, refused, also)
		}
		if strings.Contains(whole+parts, fakeGitHub) && bytes.HasPrefix(in, []byte(said(wsText, fakeGitHub))) {
			t.Fatalf("%q: the value came through", in)
		}
		if len(whole) > 2*len(in)+1024 {
			t.Fatalf("%d bytes became %d", len(in), len(whole))
		}
		one := said(wsText, text+fakeGitHub+text)
		if len(text) < 1<<10 && !strings.Contains(text, "gh") {
			if out, _ := read([]byte(one), 1+max(0, piece)%64); strings.Contains(out, fakeGitHub) {
				t.Fatalf("%q: %q", one, out)
			}
		}
	})
}

// FuzzCredentials: on a pinned host, whatever stands in a field and the query, the server gets the value where the secret
// belongs and nothing in the fields and parameters that carry credentials beside.
func FuzzCredentials(f *testing.F) {
	f.Add("Bearer "+apiShown, "X-Api-Key", other, "a=1&key="+apiShown)
	f.Add(basic("x-access-token:"+apiShown), "Cookie", "a=b", "api_key=;token="+other)
	f.Add(basic(apiShown+":"+apiShown), "Proxy-Authorization", "", "%6bey[]=x&&=")
	f.Add("bearer  "+apiShown, "X_Token", apiShown, "sig=%zz")
	f.Fuzz(func(t *testing.T, authorization, name, value, query string) {
		if !token(name) || strings.ContainsAny(query, "#\x00 ") {
			return
		}
		name = http.CanonicalHeaderKey(name)
		v, err := newVault([]Secret{apiSecret("", true)}, values{"api": apiReal}.get)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest("GET", "https://"+apiHost+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.RawQuery = query
		req.Header["Authorization"] = []string{authorization}
		if name != "Authorization" {
			req.Header[name] = []string{value}
		}
		e, why := v.outgoing(req, target{host: apiHost, port: 443}, true, func(error) {})
		if why != nil {
			if strings.Contains(why.detail, apiReal) {
				t.Error("the refusal has the value")
			}
			return
		}
		defer e.over()
		for field, list := range req.Header {
			for _, got := range list {
				carried := strings.Contains(got, apiReal)
				if pair, isBasic := strings.CutPrefix(got, "Basic "); isBasic {
					text, _ := base64.StdEncoding.DecodeString(pair)
					carried = carried || strings.Contains(string(text), apiReal)
				}
				if isCarrier(field) && field != "Authorization" && got != "" {
					t.Errorf("%s: %q is sent", field, got)
				}
				if field == "Authorization" && !carried && !strings.Contains(strings.ToLower(got), "basic ") {
					t.Errorf("%q is sent in place of the session's own", got)
				}
				if carried && field != "Authorization" && !strings.Contains(authorization+value, apiReal) {
					t.Errorf("the value is in %s", field)
				}
			}
		}
		for piece := range strings.FieldsFuncSeq(req.URL.RawQuery, func(c rune) bool { return c == '&' || c == ';' }) {
			key, is, _ := strings.Cut(piece, "=")
			if isQueryCarrier(unescape(key)) && strings.TrimSpace(unescape(is)) != "" {
				t.Errorf("parameter %q is sent", piece)
			}
		}
	})
}

// FuzzGuard holds the dial guard against net/netip's own words for addresses, and that a spelling of an address changes nothing.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "fe80::1", "93.184.215.14",
		"2606:2800::1", "::", "100.64.0.1",
		"2001:db8::1", "fd00:ec2::254", "::5efe:127.0.0.1", "2600::5efe:a00:1"} {
		a := netip.MustParseAddr(s)
		f.Add(a.AsSlice())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		plain, private := Guard{}.Check(a), Guard{}.CheckPrivate(a)
		if plain == nil && private != nil {
			t.Errorf("%v: private is stricter", a)
		}
		if again := (Guard{}).Check(netip.AddrFrom16(a.As16())); (again == nil) != (plain == nil) {
			t.Errorf("%v: %v, and mapped %v", a, plain, again)
		}
		for _, each := range []netip.Addr{a.Unmap(), decode(a.Unmap())} {
			bad := each.IsPrivate() || each.IsLoopback() || each.IsLinkLocalUnicast() || each.IsMulticast() || each.IsUnspecified() ||
				!net.IP(each.AsSlice()).IsGlobalUnicast()
			if bad && plain == nil {
				t.Errorf("%v ends at %v and passes", a, each)
			}
		}
		if (Guard{Own: func() ([]netip.Addr, error) { return []netip.Addr{a}, nil }}).Check(a) == nil {
			t.Errorf("%v is this host's own and passes", a)
		}
	})
}

// FuzzDNSStream: queries over TCP are answered one by one as they would be alone, up to the first that is none.
func FuzzDNSStream(f *testing.F) {
	framed := func(list ...[]byte) (out []byte) {
		for _, q := range list {
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(q))), q...)
		}
		return out
	}
	q := query(f, "api.example.com.", dnsmessage.TypeA)
	f.Add(framed(q, q))
	f.Add(framed(q, nil, q))
	f.Add(append(framed(q), 0xff, 0xff, 1))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, in []byte) {
		d, _ := newDNS(t)
		near, far := net.Pipe()
		go func() {
			_, _ = near.Write(in)
			_ = near.Close()
		}()
		out := &written{Conn: far}
		_ = d.ServeTCP(t.Context(), out)
		alone, _ := newDNS(t)
		var want []byte
		for rest := in; len(rest) >= 2; {
			n := int(binary.BigEndian.Uint16(rest))
			if rest = rest[2:]; len(rest) < n {
				break
			}
			answer := alone.Answer(rest[:n], false)
			if answer == nil {
				break
			}
			want, rest = append(want, framed(answer)...), rest[n:]
		}
		if !bytes.Equal(out.got, want) {
			t.Errorf("%x: answered %x, want %x", in, out.got, want)
		}
	})
}

// written takes what is written to it.
type written struct {
	net.Conn
	got []byte
}

func (w *written) Write(p []byte) (int, error) {
	w.got = append(w.got, p...)
	return len(p), nil
}

// FuzzGitGate: under git = "fetch" nothing passes that a server could take for a push, however it is spelled.
func FuzzGitGate(f *testing.F) {
	for _, s := range [][3]string{{"POST", "/r.git/git-receive-pack", ""}, {"GET", "/r.git/info/refs",
		"service=git%2Dreceive-pack"}, {"POST", "/r.git//git-upload-pack", ""},
		{"GET", "/r.git/info%2frefs", "a;service=GIT-RECEIVE-PACK"}, {"PUT", "/r.git/objects/aa/" + idA[2:], ""}, {"POST",
			"/a/../git-upload-pack;x", "_method=PUT"}} {
		f.Add(s[0], s[1], s[2], "application/x-git-upload-pack-request")
	}
	f.Fuzz(func(t *testing.T, method, path, query, kind string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || !token(method) || u.RawQuery != "" || u.Host != "" || strings.ContainsAny(query, "#") {
			return
		}
		u.RawQuery = query
		req := &http.Request{Method: method, URL: u, Header: http.Header{"Content-Type": {kind}},
			Body: io.NopCloser(strings.NewReader("0000"))}
		if judgeGit(target{rule: &Rule{Git: "fetch"}}, req, newBodies()) != nil {
			return
		}
		if !safe(method) && (method != http.MethodPost || !strings.HasSuffix(strings.ToLower(strings.TrimSuffix(u.Path, "/")),
			"/git-upload-pack") &&
			!strings.HasSuffix(strings.ToLower(strings.TrimSuffix(u.Path, "/")), "/git-upload-archive")) {
			t.Errorf("%s %s passes", method, path)
		}
		asks, _ := url.ParseQuery(query)
		if slices.ContainsFunc(asks["service"], func(s string) bool {
			return strings.EqualFold(s,
				"git-receive-pack")
		}) && strings.HasSuffix(u.Path, "/info/refs") {
			if _, one := canonicalPath(u.EscapedPath()); one {
				t.Errorf("%s %s?%s passes", method, path, query)
			}
		}
	})
}
