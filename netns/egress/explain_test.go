package egress

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// reasons reads the closed list out of event.go, so that a new reason cannot be forgotten here.
func reasons(t *testing.T) []Reason {
	t.Helper()
	f, err := parser.ParseFile(gotoken.NewFileSet(), "event.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var list []Reason
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Reason" {
				word, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, Reason(word))
			}
		}
		return true
	})
	if len(list) < 10 {
		t.Fatalf("only %d reasons found", len(list))
	}
	return list
}

func TestEveryReasonIsExplained(t *testing.T) {
	other := Reason("no such reason").Sentence()
	seen := map[string]Reason{}
	for _, r := range reasons(t) {
		s := r.Sentence()
		if s == other || seen[s] != "" {
			t.Errorf("%s: no sentence of its own (%q, %s)", r, s, seen[s])
		}
		seen[s] = r
		if r.status() < 400 {
			t.Errorf("%s: status %d", r, r.status())
		}
	}
}

// TestExplanationIsSafe: what the jail sent comes back as text that a terminal does not act on, and not at any length.
func TestExplanationIsSafe(t *testing.T) {
	for _, host := range []string{"\x1b]0;x\x07", "a\r\nSet-Cookie: x", "\u202egro.elpmaxe", "<script>", strings.Repeat("a", 1<<20), ""} {
		for _, accept := range []string{"*/*", "application/json"} {
			req := httptest.NewRequest("GET", "/", nil)
			req.Header.Set("Accept", accept)
			w := httptest.NewRecorder()
			answer(w, req, "pro\x1bfile", &refusal{host: host, port: 443, reason: NotAllowed, detail: "10.0.0.1"})
			body := w.Body.String()
			for _, r := range body {
				if r != '\n' && (r < ' ' || r > '~') {
					t.Errorf("%.20q, %s: %q in the body", host, accept, r)
				}
			}
			if len(body) > 4096 || strings.Contains(body, "--allow") || strings.Contains(body, "10.0.0.1") {
				t.Errorf("%.20q, %s: %d bytes: %.300s", host, accept, len(body), body)
			}
			if accept != "*/*" && json.Unmarshal([]byte(body), &explanation{}) != nil {
				t.Errorf("%.20q: not JSON: %s", host, body)
			}
		}
	}
}

func TestAnswerLeavesNothingOfOthers(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Length", "7")
	w.Header().Set("Set-Cookie", "x")
	answer(w, httptest.NewRequest("GET", "/", nil), "p", &refusal{host: "a.example.com", port: 80, reason: Dial})
	h := w.Result().Header
	if h.Get("Content-Length") != strconv.Itoa(w.Body.Len()) || h.Get("Set-Cookie") != "" || w.Code != http.StatusBadGateway {
		t.Errorf("%d %v", w.Code, h)
	}
}

// TestAnswerSaysWhatWasSent: a refusal that comes while a request is sent does not say that nothing of it was.
func TestAnswerSaysWhatWasSent(t *testing.T) {
	const not, some = "the request was not passed on.", "the request, or its beginning, was passed on."
	for _, tc := range []struct {
		why  *refusal
		want string
	}{
		{&refusal{reason: PlaceholderLeak}, not}, {(&refusal{reason: PlaceholderLeak}).late(false), not}, {(&refusal{reason: PlaceholderLeak}).late(true), some},
		{(&refusal{reason: Dial}).late(false), not}, {(&refusal{reason: BadResponse}).late(false), some}, {(&refusal{reason: Encoding}).late(false), some},
		{(&refusal{reason: Size}).late(true), some}, {(&refusal{reason: ForeignCredential}).late(false), not},
	} {
		if text := explain("p", tc.why).text(); !strings.Contains(text, tc.want) {
			t.Errorf("%s: %s", tc.why.reason, text)
		}
	}
}
