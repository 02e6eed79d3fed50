package egress

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

// pinCase is one request to the host of a pinned secret. foreign says whether it is refused for another's credential; the control of
// each is the same request where the secret is not pinned, and the rows beside it that pass.
type pinCase struct {
	name    string
	place   string // Header of the secret
	url     string
	header  []string
	body    string
	foreign bool
}

func judgePins(t *testing.T, cases []pinCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			for _, pin := range []bool{true, false} {
				got := ""
				c := post(t, apiHost, func(_ http.ResponseWriter, r *http.Request) {
					b, _ := io.ReadAll(r.Body)
					got = string(b)
				}, values{"api": apiReal}, apiSecret(tc.place, pin), gitSecret())
				url := tc.url
				if url == "" {
					url = "/"
				}
				_, _, err := c.send(t, "POST", "http://"+apiHost+url, strings.NewReader(tc.body), tc.header...)
				switch {
				case pin && tc.foreign:
					wantRefusal(t, err, ForeignCredential)
				case err != nil:
					t.Fatalf("pin %v: %v", pin, err)
				case got != tc.body:
					t.Errorf("pin %v: the server got %d bytes, want %d", pin, len(got), len(tc.body))
				}
			}
		})
	}
}

// TestPinTakesBothHalves: of a pair, and the word in front of the placeholder.
func TestPinTakesBothHalves(t *testing.T) {
	pair := func(p string) []string { return []string{"Authorization", basic(p)} }
	auth := func(v string) []string { return []string{"Authorization", v} }
	letters := "AbCdEfGhIjKlMnOpQrSt"
	judgePins(t, []pinCase{
		{"letters as the password", "", "", pair(apiShown + ":" + letters), "", true},
		{"letters as the user", "", "", pair(letters + ":" + apiShown), "", true},
		{"a password", "", "", pair(apiShown + ":attackerpassword"), "", true},
		{"a word as the user", "", "", pair("attacker:" + apiShown), "", true},
		{"64 letters", "", "", pair(apiShown + ":" + strings.Repeat("x", 64)), "", true},
		{"user in another spelling", "", "", pair("GIT:" + apiShown), "", true},
		{"another's name", "Authorization: Basic me@example.com", "", pair("you@example.com:" + apiShown), "", true},
		{"name that is a scheme's", "Authorization: Bearer attacker", "", pair("attacker:" + apiShown), "", true},
		{"own name", "Authorization: Basic me@example.com", "", pair("me@example.com:" + apiShown), "", false},
		{"x-access-token", "", "", pair("x-access-token:" + apiShown), "", false}, {"oauth2", "", "", pair("oauth2:" + apiShown), "", false},
		{"git", "", "", pair("git:" + apiShown), "", false}, {"no user", "", "", pair(":" + apiShown), "", false}, {"no password", "", "", pair(apiShown + ":"), "", false},
		{"x-oauth-basic", "", "", pair(apiShown + ":x-oauth-basic"), "", false}, {"in both halves", "", "", pair(apiShown + ":" + apiShown), "", false},

		{"letters as the scheme", "", "", auth(letters + " " + apiShown), "", true}, {"a key as the scheme", "", "", auth("ghp_foreignforeignforeign " + apiShown), "", true},
		{"a word as the scheme", "", "", auth("attacker " + apiShown), "", true}, {"a scheme in x-api-key", "x-api-key", "", []string{"X-Api-Key", letters + " " + apiShown}, "", true},
		{"the secret's own scheme", "Authorization: GenieKey", "", auth("GenieKey " + apiShown), "", false},
		{"token", "", "", auth("token " + apiShown), "", false}, {"Bot", "", "", auth("Bot " + apiShown), "", false},
	})
}

// TestPinNames: the header fields and parameters that are judged, and those of real clients that are not.
func TestPinNames(t *testing.T) {
	var cases []pinCase
	for _, name := range []string{
		"Authentication", "Key", "X-Session", "X-Session-Id", "X_session_key", "Session", "X-Acme-Key", "X-Auth-Key", "X-Auth-Email", "X-Acme-Token", "X-Acme-Authorization",
		"X-Acme-Authentication", "X-Auth", "X-Amz-Security-Token", "Private-Token", "Job-Token", "X-Vault-Token", "X-Acme-Passwd",
	} {
		cases = append(cases, pinCase{name: name, header: []string{name, "anything"}, foreign: true})
	}
	for _, name := range []string{
		"Idempotency-Key", "Sec-WebSocket-Key", "X-Csrf-Token", "User-Agent", "X-Stainless-Lang", "X-Stainless-Runtime-Version", "X-App", "Anthropic-Version", "Anthropic-Beta",
		"Anthropic-Dangerous-Direct-Browser-Access", "X-Claude-Code-Session-Id", "X-Claude-Remote-Session-Id", "OpenAI-Organization", "OpenAI-Project", "OpenAI-Beta", "Originator",
		"Session_id", "Session-Id", "Conversation_id", "Chatgpt-Account-Id", "X-Codex-Turn-Metadata", "X-Codex-Turn-State", "X-Goog-Api-Client", "X-Goog-User-Project", "X-Goog-Request-Params",
		"X-Github-Api-Version", "Git-Protocol", "Content-Language", "X-Request-Id", "Traceparent", "Mcp-Session-Id", "X-Initiator", "X-Interaction-Id", "Copilot-Integration-Id",
		"Editor-Version", "X-Opencode-Session", "X-Session-Affinity", "HTTP-Referer", "X-Title", "X-Client-Session-Id", "Npm-Command",
	} {
		cases = append(cases, pinCase{name: name, header: []string{name, "0f8fad5b-d9cb-469f-a165-70867728950e"}})
	}
	for _, query := range []string{
		"$key=x", "%24apiKey=x", "$httpHeaders=x-goog-api-key:x", "access_token=x", "oauth_token=x", "bearer_token=x", "code=1&client_secret=x", "$access_token=x", "accessKey=x", "assertion=x",
	} {
		cases = append(cases, pinCase{name: "?" + query, url: "/?" + query, foreign: true})
	}
	for _, query := range []string{"pageToken=x", "page_token=x", "$alt=sse", "code=1", "max_tokens=5", "continuation-token=x"} {
		cases = append(cases, pinCase{name: "?" + query, url: "/?" + query})
	}
	judgePins(t, cases)
}

// TestPinBodies: a credential in a form or in the outer objects of a JSON text.
func TestPinBodies(t *testing.T) {
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	json := []string{"Content-Type", "application/json; charset=utf-8"}
	var parts bytes.Buffer
	w := multipart.NewWriter(&parts)
	for name, value := range map[string]string{"channels": "c", "token": "xoxb-foreign"} {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	pad := strings.Repeat(" ", 2*maxAsked)
	judgePins(t, []pinCase{
		{"form token", "", "", form, "channel=c&token=xoxb-foreign", true}, {"form api_key", "", "", form, "api_key=x", true}, {"form, escaped", "", "", form, "a=b&%74oken=x", true},
		{"form client_secret", "", "", form, "grant_type=client_credentials&client_id=x&client_secret=x", true}, {"form password", "", "", form, "user[password]=x", true},
		{"form, semicolon", "", "", form, "a=b;access_token=x", true}, {"form beside", "", "", append(form, "Authorization", "Bearer "+apiShown), "token=x", true},
		{"form of no credential", "", "", form, "channel=c&text=token%3Dx&page_token=x&token=", false},
		{"form as text", "", "", []string{"Content-Type", "text/plain"}, "token=x", false},
		{"parts", "", "", []string{"Content-Type", w.FormDataContentType()}, parts.String(), true},
		{"parts of no credential", "", "", []string{"Content-Type", w.FormDataContentType()}, strings.ReplaceAll(parts.String(), `"token"`, `"text"`), false},

		{"json api_key", "", "", json, `{"a":1,"api_key":"x"}`, true}, {"json apiKey", "", "", json, `{"apiKey":"x"}`, true}, {"json, escaped", "", "", json, `{"\u0074oken":"x"}`, true},
		{"json within", "", "", json, `{"auth":{"password":"x"}}`, true}, {"json in a list", "", "", json, `[{"a":1},{"auth":{"token":"x"}}]`, true}, {"json, broken behind", "", "", json, `{"token":"x",`, true},
		{"json, another type", "", "", []string{"Content-Type", "application/vnd.git-lfs+json"}, `{"token":"x"}`, true}, {"json behind a mark", "", "", json, "\ufeff" + `{"token":"x"}`, true},
		{"json, last of the beginning", "", "", json, `{` + pad[:maxAsked-12] + `"token":"x"}`, true}, {"json, long", "", "", json, `{"token":"x","text":"` + pad + `"}`, true},
		{"json of no credential", "", "", json, `{"model":"token","max_tokens":5,"tokens":["token","x"],"token":{"type":"string"},"api_key":"","password":null}`, false},
		{"json of a tool's input", "", "", json, `{"messages":[{"role":"assistant","content":[{"type":"tool_use","input":{"password":"x"}}]}],"schema":{"a":{"b":{"token":"x"}}}}`, false},
		{"placeholder", "", "", json, `{"token":"` + apiShown + `"}`, false},
		{"json, long, of no credential", "", "", json, `{"text":"` + pad + `"}`, false}, // whole behind what was looked at
	})
}

func FuzzFields(f *testing.F) {
	f.Add([]byte(`[{"a":{"token":["x",[]]}},[],"x",{}]`))
	f.Add([]byte("a=b;token[]=x&&="))
	f.Add([]byte("--b\r\nContent-Disposition: form-data;\r\n name=token\r\n\r\nx\r\n--b--"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		ask := func(string, string) {}
		jsonFields(text, ask)
		formFields(text, ask)
		partFields(text, ask)
	})
}
