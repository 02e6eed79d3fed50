package egress

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// jwt makes an unsigned token with these claims.
func jwt(claims string) string {
	code := base64.RawURLEncoding
	return code.EncodeToString([]byte(`{"alg":"RS256","kid":"k1","typ":"JWT"}`)) + "." + code.EncodeToString([]byte(claims)) + "." + strings.Repeat("Sig0", 20)
}

// TestClaimsSayNothing: of an identity token the jail sees the shape, the times and the plan, and nothing of the person.
func TestClaimsSayNothing(t *testing.T) {
	const claims = `{"iss":"https://auth.example.com","sub":"google-oauth2|11223344556677889900","aud":["app_1"],"exp":4102444800, "iat" : 1700000000,
		"email":"jane.doe@example.org","email_verified":true,"name":"Jane D\u00f6e \"JD\"","given":"Jäne","phone":4915112345678,"n":-0.5e3,"zero":0,"none":null,
		"https://api.openai.com/auth":{"chatgpt_account_id":"acc-4711aaaa","chatgpt_plan_type":"plus","user_id":"user-JaneDoe4711","until":"2027-01-02T03:04:05Z",
		"organizations":[{"id":"org-jane4711","title":"Jane Inc","default":true}]}}`
	value := jwt(claims)
	shown, err := Placeholder(value, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parts, before := strings.Split(shown, "."), strings.Split(value, ".")
	if len(shown) != len(value) || len(parts) != 3 || parts[0] != before[0] || parts[2] == before[2] {
		t.Fatalf("%q", shown)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"1122334455", "jane", "Jane", "Doe", "4711\"", "49151"} {
		if !strings.Contains(claims, word) && word != "Doe" {
			t.Errorf("control: no %q", word)
		}
		if strings.Contains(strings.ReplaceAll(string(text), "acc-4711aaaa", ""), word) {
			t.Errorf("%q still says %q", text, word)
		}
	}
	var was, is map[string]any
	if err := json.Unmarshal([]byte(claims), &was); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &is); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	for _, name := range []string{"iss", "aud", "exp", "iat", "email_verified", "none"} {
		if !reflect.DeepEqual(was[name], is[name]) {
			t.Errorf("%s: %v became %v", name, was[name], is[name])
		}
	}
	auth := is["https://api.openai.com/auth"].(map[string]any)
	if auth["chatgpt_account_id"] != "acc-4711aaaa" || auth["chatgpt_plan_type"] != "plus" || auth["until"] != "2027-01-02T03:04:05Z" {
		t.Errorf("%v", auth)
	}
	if email := is["email"].(string); strings.IndexByte(email, '@') != len("jane.doe") || !strings.HasSuffix(email, email[len("jane.doe@example"):]) {
		t.Errorf("email %q", email)
	}
	if again, err := Placeholder(jwt("no JSON at all, and jane.doe"), rand.Reader); err != nil || strings.Contains(again, before[1]) {
		t.Errorf("%q, %v", again, err)
	} else if text, err := base64.RawURLEncoding.DecodeString(strings.Split(again, ".")[1]); err == nil && strings.Contains(string(text), "jane") {
		t.Errorf("%q", text)
	}
}

// FuzzClaims: whatever the claims are, the placeholder keeps their length, and JSON stays JSON.
func FuzzClaims(f *testing.F) {
	f.Add(`{"a":"b","c":[1,{"d":"\\\""}],"exp":1}`)
	f.Add(`{"a":-0.0e1,"":"","b":{"c":"é"}}`)
	f.Add(`"a" `)
	f.Add(`{"a":-10,"b":[10,-20,30,-40,50,-60,70,-80]}`)
	f.Fuzz(func(t *testing.T, claims string) {
		part := base64.RawURLEncoding.EncodeToString([]byte(claims))
		again, err := disguiseClaims(part, rand.Reader)
		if err != nil || len(again) != len(part) {
			t.Fatalf("%q: %q, %v", claims, again, err)
		}
		if text, err := base64.RawURLEncoding.DecodeString(again); json.Valid([]byte(claims)) && (err != nil || !json.Valid(text)) {
			t.Errorf("%q became %q", claims, text)
		}
	})
}
