package profiles

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// APIs are the words of net.rule.api: services whose requests the door judges by what they ask for.
func APIs() []string { return []string{"anthropic", "openai", "gemini", "github"} }

// inspects says that the rule has a key that needs requests to be seen.
func (r Rule) inspects() bool {
	return r.TLS == "inspect" || len(r.Methods) > 0 || len(r.Paths) > 0 || r.Git != "" || len(r.PushRefs) > 0 || r.MaxRequest != "" ||
		r.MaxUpload != "" || r.API != "" || len(r.ServerTools) > 0
}

// checkRequests judges the keys that say what requests may ask for.
func (r Rule) checkRequests() (field string, err error) {
	word := func(key, value string, words ...string) {
		if value != "" && !slices.Contains(words, value) && err == nil {
			field, err = "."+key, fmt.Errorf("%q: must be %s", value, strings.Join(words, " or "))
		}
	}
	word("tls", r.TLS, "tunnel", "inspect")
	word("git", r.Git, "fetch", "push", "none")
	word("api", r.API, APIs()...)
	if err != nil {
		return field, err
	}
	list := func(key string, values []string, check func(string) error) {
		for i, v := range values {
			if e := check(v); e != nil && err == nil {
				field, err = fmt.Sprintf(".%s[%d]", key, i), e
			}
		}
	}
	list("methods", r.Methods, checkMethod)
	list("paths", r.Paths, checkPathGlob)
	list("push_refs", r.PushRefs, checkRef)
	list("server_tools", r.ServerTools, checkServerTool)
	for key, size := range map[string]string{"max_request": r.MaxRequest, "max_upload": r.MaxUpload} {
		if size != "" && err == nil {
			if _, e := ParseBytes(size); e != nil {
				field, err = "."+key, e
			}
		}
	}
	switch {
	case err != nil:
		return field, err
	case r.TLS == "tunnel" && r.inspects():
		return ".tls", errors.New(`"tunnel" hides the requests that the rule's other keys judge: leave it out`)
	case len(r.PushRefs) > 0 && r.Git != "push":
		return ".push_refs", errors.New(`needs git = "push"`)
	case len(r.ServerTools) > 0 && r.API == "":
		return ".server_tools", errors.New("needs api")
	}
	return "", nil
}

// checkMethod takes the name of a method (RFC 9110 section 9.1), in which case matters.
func checkMethod(s string) error {
	if s == "" || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" {
		return fmt.Errorf("%q is not a method: write it like GET", s)
	}
	if s == "CONNECT" {
		return fmt.Errorf("%q asks for a tunnel: leave the rule's request keys out for one", s)
	}
	return nil
}

// checkPathGlob takes a glob on a path; egress judges the globs' syntax, which is its own.
func checkPathGlob(s string) error {
	if !strings.HasPrefix(s, "/") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("?#", r) }) {
		return fmt.Errorf("%q is not a path: it begins with / and has no query", s)
	}
	return nil
}

// checkRef takes a glob on the names of refs (git-check-ref-format(1)).
func checkRef(s string) error {
	if s == "" || strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || strings.Contains(s, "..") || strings.Contains(s, "//") ||
		strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`~^:\`, r) }) {
		return fmt.Errorf("%q is not the name of a ref, or a pattern of one: write it like agent/*", s)
	}
	return nil
}

func checkServerTool(s string) error {
	if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return fmt.Errorf("%q is not the name of a tool: write it like web_search", s)
	}
	return nil
}
