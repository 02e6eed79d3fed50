package egress

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

const encodedForm = "application/x-www-form-urlencoded"

// part is a form with one field, whose name is written in this way.
func part(name, value string) string {
	return "--b\r\nContent-Disposition: form-data; " + name + "\r\n\r\n" + value + "\r\n--b--\r\n"
}

// TestFormOverrideSpellings: the ways to write _method, and the types behind which a form is read, of PHP and Rack. kind "-" is none.
func TestFormOverrideSpellings(t *testing.T) {
	const multi = "multipart/form-data; boundary=b"
	var arrived atomic.Int32
	j := inspectJail(t, func(_ http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			arrived.Add(1)
		}
	}, func(r *Rule) { r.Methods = []string{"GET", "POST", "HEAD"} })
	long := strings.Repeat("x", 2000)
	passed := int32(0)
	for _, tc := range []struct {
		kind, query, body string
		refused           bool
	}{
		{"-", "", "_method=DELETE", true},
		{"", "", "_method=DELETE", true},
		{encodedForm + ",x", "", "_method=DELETE", true},
		{encodedForm + " x", "", "_method=DELETE", true},
		{"Application/X-WWW-Form-Urlencoded;x", "", "_method=DELETE", true},
		{"multipart/form-data,x; boundary=b", "", part(`name="_method"`, "DELETE"), true},
		{"multipart/mixed; boundary=b", "", part(`name="_method"`, "DELETE"), true},
		{encodedForm + "; charset=utf-16", "", "a=b", true},
		{encodedForm + `; charset="IBM037"`, "", "a=b", true},
		{multi + "; charset=utf-7", "", part(`name="a"`, "b"), true},

		{encodedForm, "", "a=1& _method=DELETE", true},
		{encodedForm, "", "a=1&" + strings.Repeat("%20", 200) + "+_method=DELETE", true},
		{encodedForm, "", ".method=DELETE", true},
		{encodedForm, "", "%20_method=DELETE", true},
		{encodedForm, "", "_method%00x=DELETE", true},
		{encodedForm, "", "_method%00" + long + "=DELETE", true},
		{encodedForm, "", "_method[" + long + "]=DELETE", true},
		{encodedForm, "", "_method%zz=a&%5fmethod%00%zz=DELETE", true},
		{encodedForm, "", "[method=DELETE", true},
		{encodedForm, "", "+method=DELETE&x+http.method.override=a&%5Fmethod%20=DELETE", true},
		{"-", ".method=DELETE", "", true},
		{"-", "a=1&%20_method=DELETE", "", true},
		{"-", "_method%00x=DELETE", "", true},
		{"-", "[method=DELETE", "", true},
		{"-", "http.method=DELETE", "", true},

		{multi, "", part(`name=".method"`, "DELETE"), true},
		{multi, "", part(`name=" _method"`, "DELETE"), true},
		{multi, "", part("name=\"_method\x00x\"", "DELETE"), true},
		{multi, "", part(`name="_meth\od"`, "DELETE"), true},
		{multi, "", part(`name= "_method"`, "DELETE"), true},
		{multi, "", part(`name ="_method"`, "DELETE"), true},
		{multi, "", part("name=\r\n \"_method\"", "DELETE"), true},
		{multi, "", part(`name*=utf-8''_method`, "DELETE"), true},
		{multi, "", part(`name*=utf-8'en'%5fmethod`, "DELETE"), true},
		{multi, "", part(`name=_method;x=y`, "DELETE"), true},
		{multi, "", part(`name='_method'`, "DELETE"), true},
		{multi, "", part(`name="_method[]"`, "DELETE"), true},
		{multi, "", part(`name="a"; name="_method"`, "DELETE"), true},

		{"-", "", "a=b&method=DELETE", false},
		{"-", "", `{"_method":"x"}`, false},
		{"text/plain", "", "_method=DELETE", false},
		{encodedForm + "; charset=UTF-8", "", "a=b&text=_method%3DDELETE&my_method=x&_methods=y&user[_method]=z", false},
		{encodedForm + "; charset=ISO-8859-1", "", "a=b", false},
		{multi, "", part(`name="text"`, "_method=DELETE, the name is _method"), false},
		{"-", "filter[method]=DELETE&_method=get", "", false},
	} {
		for _, piece := range []int{1, 1 << 20} {
			req, err := http.NewRequest("POST", "https://good.example.com/?"+tc.query, &pieces{r: strings.NewReader(tc.body), n: piece})
			if err != nil {
				t.Fatal(err)
			}
			if tc.kind != "-" {
				req.Header.Set("Content-Type", tc.kind)
			}
			res, err := j.client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			want := 200
			if tc.refused {
				want = 403
			} else {
				passed++
			}
			if res.StatusCode != want || tc.refused && res.Header.Get("X-Agentjail-Reason") != string(Method) {
				t.Errorf("%q %.60q %.120q in pieces of %d: %s", tc.kind, tc.query, tc.body, piece, res.Status)
			}
		}
	}
	if arrived.Load() != passed {
		t.Errorf("%d forms arrived whole; want %d", arrived.Load(), passed)
	}
}

// TestPinSpellings: the ways to write a credential's name, and the types behind which it is read.
func TestPinSpellings(t *testing.T) {
	as := func(kind string) []string { return []string{"Content-Type", kind} }
	form, json, multi := as(encodedForm), as("application/json"), as("multipart/form-data,x; boundary=b")
	file := `name="token"; filename="x"`
	page := part(`name="page"; filename="a.html"`, "<form>\r\n <input name=\"password\"\r\n\r\n value=x>")
	judgePins(t, []pinCase{
		{"form, no type", "", "", nil, "a=b&token=x", true}, {"form, comma", "", "", as(encodedForm + ",x"), "token=x", true},
		{"form, space", "", "", as(encodedForm + " x"), "token=x", true}, {"form, behind another", "", "", as("text/plain, " + encodedForm), "token=x", true},
		{"api.key", "", "", form, "api.key=x", true}, {"blank", "", "", form, "a=b& key=x", true}, {"NUL", "", "", form, "token%00x=x", true},
		{"open bracket", "", "", form, "api[key=x", true}, {"broken escape", "", "", form, "%zz%74oken=x", true}, {"blank behind", "", "", form, "token+=x", true},
		{"query, api.key", "", "/?api.key=x", nil, "", true}, {"query, blank", "", "/?%20key=x", nil, "", true}, {"query, NUL", "", "/?key%00x=x", nil, "", true},

		{"parts", "", "", multi, part(`name="token"`, "x"), true}, {"parts, blank", "", "", multi, part(`name= "token"`, "x"), true},
		{"parts, backslash", "", "", multi, part(`name="to\ken"`, "x"), true}, {"parts, extended", "", "", multi, part(`name*=utf-8''token`, "x"), true},
		{"parts, folded", "", "", multi, part("\r\n name=api.key", "x"), true}, {"parts, dashes", "", "", multi, part(`name="token"`, "--x"), true},
		{"parts, bad line", "", "", multi, "--b\r\nbad\r\n\r\n" + part(`name="token"`, "x"), true},
		{"parts, LF", "", "", multi, strings.ReplaceAll(part(`name="token"`, "x"), "\r", ""), true},

		{"json, text", "", "", as("text/json"), `{"token":"x"}`, true}, {"json, comma", "", "", as("application/json,x"), `{"token":"x"}`, true},
		{"json, no type", "", "", nil, `{"token":"x"}`, true}, {"json, list", "", "", json, `{"access_token":["x"]}`, true},
		{"json, lists", "", "", json, `{"auth":{"access_token":[1,[["x"]]]}}`, true}, {"json, blank", "", "", json, `{" api.key ":"x"}`, true},
		{"json, charset", "", "", as("application/json; charset=utf-16"), `{}`, true}, {"json, UTF-16", "", "", json, "{\x00\"\x00a\x00\"\x00:\x001\x00}\x00", true},
		{"form, charset", "", "", as(encodedForm + "; charset=utf-16le"), "a=b", true},

		{"no type, no credential", "", "", nil, `{"model":"x","tokens":["y"]}`, false}, {"form, utf-8", "", "", as(encodedForm + "; charset=UTF-8"), "a.b=c&page.token=x", false},
		{"parts, empty", "", "", multi, part(`name="token"`, ""), false}, {"parts, a file", "", "", multi, part(file, "x"), false},
		{"parts, a page", "", "", multi, page, false}, {"another charset, as text", "", "", as("text/plain; charset=utf-16"), "token=x", false},
		{"json, a list within", "", "", json, `{"messages":[{"token":["x"]}],"token":{"enum":["x"]},"a":{"b":{"token":["x"]}}}`, false},
		{"json, latin1", "", "", as("application/json; charset=ISO-8859-1"), `{"a":1}`, false},
		{"placeholder in a list", "", "", json, `{"token":["` + apiShown + `"]}`, false},
	})
}
