package egress

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// checkAPIHeader refuses what would make the server take the request for another one than was judged.
func checkAPIHeader(r *Rule, req *http.Request) error {
	for name := range req.Header {
		switch s := spelled(name); {
		case overridesMethod(name):
			return fmt.Errorf("method override %s", bounded(name))
		case overridesPath(name):
			return fmt.Errorf("path override %s", bounded(name))
		case s == "Upgrade":
			return errors.New("protocol upgrade: what is said behind it is not judged")
		case r.API == "gemini" && (strings.HasPrefix(s, "X-Goog-Upload-") || s == "X-Goog-Encode-Response-If-Executable"):
			return fmt.Errorf("%s: another form of the request or its answer", s)
		}
	}
	for pair := range strings.FieldsFuncSeq(req.URL.RawQuery, func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || overridesMethodIn(name, unescape(value)) || r.API == "gemini" && !geminiParameter(name) {
			return fmt.Errorf("query parameter %s", bounded(pair))
		}
	}
	if r.API == "anthropic" {
		return checkBetas(req.Header, r.ServerTools)
	}
	return nil
}

// geminiParameter says whether a parameter of the query is one that changes nothing of what was judged. Google's system parameters
// (https://cloud.google.com/apis/docs/system-parameters) stand for header fields, the type of the body, the body itself and the method;
// most of them have a second name that begins with "$". Credentials are the vault's to judge.
func geminiParameter(name string) bool {
	return slices.Contains([]string{
		"alt", "$alt", "fields", "$fields", "prettyprint", "$prettyprint", "pagesize", "pagetoken", "quotauser", "$.xgafv",
		"key", "$key", "$apikey", "access_token", "oauth_token",
	}, strings.ToLower(name))
}
