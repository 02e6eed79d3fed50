package egress

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCanonicalPath(t *testing.T) {
	for _, tc := range []struct{ raw, want string }{
		{"/", "/"},
		{"/v1/messages", "/v1/messages"},
		{"/v1/%6dessages", "/v1/messages"},
		{"/a%20b/c", "/a b/c"},
		{"/%C3%BC", "/ü"},
		{"/ü", "/ü"},
		{"/a/", "/a/"},
		{"/a.b/..c/...", "/a.b/..c/..."},
		{"/models/x:generate", "/models/x:generate"},
		{"/@scope+x,y=z", "/@scope+x,y=z"},
	} {
		if got, ok := canonicalPath(tc.raw); !ok || got != tc.want {
			t.Errorf("%q: %q, %v; want %q", tc.raw, got, ok, tc.want)
		}
	}
	for _, raw := range []string{
		"", "*", "a", "http://good.example.com/",
		"/a%2Fb", "/a%2fb", "/a%5Cb", `/a\b`, "//", "//a", "/a//b", "/a//",
		"/.", "/..", "/a/./b", "/a/../b", "/a/..", "/%2e%2e/a", "/a/%2E", "/.%2e/a",
		"/a;b", "/a%3Bb", "/a%3bb/c", "/a%00", "/a%0a", "/a%7f", "/a\x00", "/a\n",
		"/a%", "/a%2", "/a%zz", "/a%u002f", "/a%25b", "/a%252fb", "/a%3Fb", "/a%23b", "/a?b", "/a#b",
		"/a%ff", "/a\xff", "/%c0%af", "/%c0%ae%c0%ae/a", "/%e0%80%af", "/%ed%a0%80",
	} {
		if got, ok := canonicalPath(raw); ok {
			t.Errorf("%q: %q; want none", raw, got)
		}
	}
}

func TestMatchPath(t *testing.T) {
	for _, tc := range []struct {
		glob     string
		yes, not string // separated by spaces
	}{
		{"/v1/messages", "/v1/messages", "/v1/messages/ /v1/message /v1/Messages /v1/messages/x /x/v1/messages /"},
		{"/v1/models/*", "/v1/models/x /v1/models/x-1.5 /v1/models/*", "/v1/models /v1/models/ /v1/models/x/y /v1/models/x/"},
		{"/v1/*/x", "/v1/a/x", "/v1/x /v1/a/b/x"},
		{"/a*", "/a /ab", "/ /b /a/b"},
		{"/*.tgz", "/.tgz /a.tgz", "/a.tgz.sig /a/b.tgz"},
		{"/a*b*c", "/abc /axbxc /abbbcc", "/ab /ac /abcd"},
		{"/v1/**", "/v1 /v1/ /v1/a /v1/a/b", "/ /v2/a /v11"},
		{"/**", "/ /a /a/b", ""},
		{"/**/x", "/x /a/x /a/b/x", "/ /xx /x/a"},
		{"/a/**/b/*", "/a/b/c /a/x/b/c /a/b/b/b", "/a/b /a/b/ /b/c"},
		{"/**/a/**/b", "/a/b /x/a/y/b /a/a/b/b", "/b/a /a"},
		{"/", "/", "/a"},
	} {
		if err := checkPath(tc.glob); err != nil {
			t.Errorf("%s: %v", tc.glob, err)
		}
		for _, p := range strings.Fields(tc.yes) {
			if !matchPath(tc.glob, p) {
				t.Errorf("%s does not match %s", tc.glob, p)
			}
		}
		for _, p := range strings.Fields(tc.not) {
			if matchPath(tc.glob, p) {
				t.Errorf("%s matches %s", tc.glob, p)
			}
		}
	}
	// A star matches again and again; it must not take exponential time.
	if matchPath("/"+strings.Repeat("a*", 200)+"b", "/"+strings.Repeat("a", 5000)) || matchPath(strings.Repeat("/**/a", 200)+"/b", strings.Repeat("/a", 2000)) {
		t.Error("match")
	}
}

func TestCheckRequests(t *testing.T) {
	good := func() Rule { return Rule{Host: "a.example.com", Ports: []uint16{443}} }
	for name, tc := range map[string]struct {
		change func(*Rule)
		want   string // in the error; "" is none
	}{
		"nothing":            {func(r *Rule) {}, ""},
		"all":                {func(r *Rule) { r.Methods, r.Paths, r.MaxRequest = []string{"GET"}, []string{"/v1/**"}, 1 }, ""},
		"tls":                {func(r *Rule) { r.TLS = "Inspect" }, "tls"},
		"tunnel":             {func(r *Rule) { r.TLS = "tunnel" }, ""},
		"tunnel and methods": {func(r *Rule) { r.TLS, r.Methods = "tunnel", []string{"GET"} }, "tunnel"},
		"lower case":         {func(r *Rule) { r.Methods = []string{"get"} }, "method"},
		"CONNECT":            {func(r *Rule) { r.Methods = []string{"CONNECT"} }, "CONNECT"},
		"empty method":       {func(r *Rule) { r.Methods = []string{""} }, "method"},
		"relative":           {func(r *Rule) { r.Paths = []string{"v1"} }, "begin"},
		"query":              {func(r *Rule) { r.Paths = []string{"/a?b"} }, "query"},
		"dots":               {func(r *Rule) { r.Paths = []string{"/a/../b"} }, "two ways"},
		"escape":             {func(r *Rule) { r.Paths = []string{"/%6d"} }, "decoded"},
		"stars in a segment": {func(r *Rule) { r.Paths = []string{"/a**"} }, "**"},
		"git":                {func(r *Rule) { r.Git = "pull" }, "git"},
		"refs":               {func(r *Rule) { r.PushRefs = []string{"x"} }, "push_refs"},
		"api":                {func(r *Rule) { r.API = "x" }, "api"},
		"negative":           {func(r *Rule) { r.MaxUpload = -1 }, "negative"},
	} {
		r := good()
		tc.change(&r)
		_, err := (&Policy{Allow: []Rule{r}}).Compile()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v; want %q", name, err, tc.want)
		}
	}
	r := good()
	r.Methods = []string{"GET"}
	if _, err := (&Policy{Deny: []Rule{r}}).Compile(); err == nil {
		t.Error("deny rule with methods: no error")
	}
	for rule, fails := range map[string]bool{"a.example.com": true, "*.example.com": true, "b.example.com": false, "*.a.example.com": false} {
		p := Policy{Allow: []Rule{{Host: rule, Ports: []uint16{443}, TLS: "tunnel"}}, Secrets: []Secret{{Name: "s", Hosts: []string{"a.example.com"}}}}
		if _, err := p.Compile(); (err != nil) != fails {
			t.Errorf("tunnel of %s beside a secret of a.example.com: %v", rule, err)
		}
	}
}

func TestJudgeRequest(t *testing.T) {
	r := &Rule{Methods: []string{"GET", "POST"}, Paths: []string{"/v1/**"}}
	for _, tc := range []struct {
		method, target string
		header         http.Header
		want           Reason
	}{
		{"GET", "/v1/a", nil, ""},
		{"POST", "/v1/a?x=y", nil, ""},
		{"get", "/v1/a", nil, Method},
		{"HEAD", "/v1/a", nil, Method},
		{"DELETE", "/v1/a", nil, Method},
		{"DELETE", "/v2", nil, Method},
		{"GET", "/v2", nil, Path},
		{"GET", "/v1/../v2", nil, Path},
		{"GET", "/v1/%2e%2e/v2", nil, Path},
		{"GET", "*", nil, Path},
		{"POST", "/v1/a", http.Header{"X-Http-Method-Override": {"DELETE"}}, Method},
		{"POST", "/v1/a", http.Header{"X-Http-Method-Override": {"GET"}}, ""},
		{"POST", "/v1/a", http.Header{"X-Http-Method-Override": {"get, DELETE"}}, Method},
		{"POST", "/v1/a", http.Header{"X_HTTP_METHOD_OVERRIDE": {"PUT"}}, Method},
		{"POST", "/v1/a", http.Header{"X-Method-Override": {"GET", "PUT"}}, Method},
		{"POST", "/v1/a", http.Header{"X-Http-Method": {"MERGE"}}, Method},
		{"POST", "/v1/a?_method=DELETE", nil, Method},
		{"POST", "/v1/a?x=1&%5Fmethod=delete", nil, Method},
		{"POST", "/v1/a?x=1;_method=delete", nil, Method},
		{"POST", "/v1/a?_method=get", nil, ""},
		{"POST", "/v1/a?a_method=DELETE", nil, ""},
		{"POST", "/v1/a", http.Header{"Content-Type": {"a/b", "application/x-www-form-urlencoded"}}, Method},
		{"POST", "/v1/a", http.Header{"X-Original-Method": {"DELETE"}}, Method},
		{"POST", "/v1/a", http.Header{"X-Forwarded-Method": {"DELETE"}}, Method},
		{"POST", "/v1/a", http.Header{"Method-Override": {"DELETE"}}, Method},
		{"POST", "/v1/a", http.Header{"X-Goog-Method-Override": {"DELETE"}}, Method},
		{"POST", "/v1/a", http.Header{"X_original_method": {"DELETE"}}, Method},
		{"POST", "/v1/a", http.Header{"X-Original-Method": {"POST"}}, ""},
		{"POST", "/v1/a", http.Header{"Access-Control-Request-Method": {"DELETE"}}, ""},
		{"POST", "/v1/a?_method[]=DELETE", nil, Method},
		{"POST", "/v1/a?_method%5B0%5D=DELETE", nil, Method},
		{"POST", "/v1/a?httpMethod=DELETE", nil, Method},
		{"POST", "/v1/a?http_method=delete", nil, Method},
		{"POST", "/v1/a?method=DELETE", nil, Method},
		{"POST", "/v1/a?method=get", nil, ""},
		{"POST", "/v1/a?method=flickr.photos.search", nil, ""},
		{"POST", "/v1/a?$httpHeaders=X-HTTP-Method-Override:DELETE", nil, Method},
		{"GET", "/v1/a?$filter=x&$select=y", nil, ""},
		{"GET", "/v1/a", http.Header{"X-Forwarded-Path": {"/v2"}}, Path},
		{"GET", "/v1/a", http.Header{"X-Forwarded-Prefix": {"/v2"}}, Path},
		{"GET", "/v1/a", http.Header{"X-Override-Url": {"/v2"}}, Path},
		{"GET", "/v1/a", http.Header{"X-Envoy-Original-Path": {"/v2"}}, Path},
		{"GET", "/v1/a", http.Header{"X_forwarded_uri": {"/v2"}}, Path},
		{"GET", "/v1/a", http.Header{"X-Path": {"/v2"}, "Referer": {"/v2"}}, ""},
		{"GET", "/v1/a", http.Header{"X-Original-Url": {"/v2"}}, Path},
		{"GET", "/v1/a", http.Header{"X-Rewrite-Url": {"/v2"}}, Path},
	} {
		path, query, _ := strings.Cut(tc.target, "?")
		why := r.judgeRequest(tc.method, path, query, tc.header)
		if why == nil && tc.want != "" || why != nil && why.reason != tc.want {
			t.Errorf("%s %s %v: %v; want %q", tc.method, tc.target, tc.header, why, tc.want)
		}
		if why != nil && why.fix == "" {
			t.Errorf("%s %s: no way out is named", tc.method, tc.target)
		}
		if why := (&Rule{}).judgeRequest(tc.method, path, query, tc.header); why != nil {
			t.Errorf("control, rule without methods and paths: %v", why)
		}
	}
}

func FuzzCanonicalPath(f *testing.F) {
	for _, s := range []string{"/", "/v1/models/*", "/a%2Fb", "/%c0%af", "//", "/..;/a", "/%252e", "/ü/%C3%BC", "/a%00", `\`, "/**/x", "*"} {
		f.Add(s, "/v1/**")
	}
	f.Fuzz(func(t *testing.T, raw, glob string) {
		p, ok := canonicalPath(raw)
		if !ok {
			return
		}
		if !strings.HasPrefix(p, "/") || !utf8.ValidString(p) || strings.ContainsAny(p, "%\\;?#\x00") || strings.Contains(p, "//") || strings.Contains(p+"/", "/../") {
			t.Errorf("%q became %q", raw, p)
		}
		if again, ok := canonicalPath(p); !ok || again != p {
			t.Errorf("%q became %q and that %q, %v", raw, p, again, ok)
		}
		if !matchPath(p, p) && !strings.Contains(p, "*") || !matchPath("/**", p) {
			t.Errorf("%q does not match itself", p)
		}
		if checkPath(glob) == nil {
			matchPath(glob, p)
		}
	})
}

// FuzzKeepEscapes holds that a path goes out with all that is encoded in it, and as the one that was judged.
func FuzzKeepEscapes(f *testing.F) {
	for _, s := range []string{"/a%2Fb|c", "/%41{}", "//x|/../%2e", "/a b", "/\xff|", "/%zz|", "https://h/%2F|", "*"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		path, raw := u.Path, u.RawPath
		keepEscapes(u)
		sent := u.EscapedPath()
		if raw != "" && sent != u.RawPath {
			t.Fatalf("%q goes out as %q, not as %q", target, sent, u.RawPath)
		}
		if again, err := url.PathUnescape(sent); err != nil || again != path {
			t.Fatalf("%q goes out as %q, which is %q, %v", target, sent, again, err)
		}
		if raw != "" && strings.Count(strings.ToLower(sent), "%2f") != strings.Count(strings.ToLower(raw), "%2f") {
			t.Fatalf("%q goes out as %q: slashes", target, sent)
		}
	})
}
