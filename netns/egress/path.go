package egress

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"
)

// canonicalPath gives the path of a request target as every reader of it must understand it: percent escapes decoded once. false:
// it can be read in two ways, so that no rule about paths may be asked about it. Servers differ in whether an encoded slash divides
// segments, whether dot segments and empty ones are taken out before or after decoding, whether a backslash is a slash, whether
// ";x" belongs to a segment (RFC 3986 section 3.3), where a NUL ends a name and what bytes that are not UTF-8 mean, overlong
// forms of '/' and '.' among them (CVE-2000-0884); some decode twice, so a decoded percent sign is refused as well.
//
// raw is the path as it is sent, without query. One that does not begin with a slash ("*" of OPTIONS) is none.
func canonicalPath(raw string) (string, bool) {
	if !strings.HasPrefix(raw, "/") {
		return "", false
	}
	path := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		c, encoded := raw[i], false
		if c == '%' {
			if i+2 >= len(raw) || !hexDigit(raw[i+1]) || !hexDigit(raw[i+2]) {
				return "", false
			}
			c, encoded = unhex(raw[i+1])<<4|unhex(raw[i+2]), true
			i += 2
		}
		switch {
		case c < ' ', c == 0x7f, c == '\\', c == ';', c == '%', c == '?', c == '#':
			return "", false
		case encoded && c == '/':
			return "", false
		}
		path = append(path, c)
	}
	if !utf8.Valid(path) {
		return "", false
	}
	segments := strings.Split(string(path[1:]), "/")
	for i, s := range segments {
		if s == "." || s == ".." || s == "" && i < len(segments)-1 {
			return "", false
		}
	}
	return string(path), true
}

// keepEscapes has a path sent on as it came, but for the bytes that none may have (RFC 3986 section 3.3): these are encoded one by one.
// net/url writes a path with such a byte anew, and %2F in it as a slash.
func keepEscapes(u *url.URL) {
	if u.RawPath == "" || u.RawPath == u.EscapedPath() {
		return
	}
	var b strings.Builder
	for _, c := range []byte(u.RawPath) {
		if c > ' ' && c < 0x7f && !strings.ContainsRune("\"#<>?\\^`{|}", rune(c)) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	u.RawPath = b.String()
}

// unhex gives the value of a hexadecimal digit.
func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// checkPath judges a glob of Rule.Paths. It is written decoded and in the one form that a request's path is brought to.
func checkPath(glob string) error {
	plain, ok := canonicalPath(glob)
	switch {
	case !strings.HasPrefix(glob, "/"):
		return fmt.Errorf("path %q does not begin with /", glob)
	case strings.ContainsAny(glob, "?#"):
		return fmt.Errorf("path %q: a path has no query", glob)
	case !ok:
		return fmt.Errorf("path %q can be read in two ways: no escapes but of bytes that need one, no //, no dot segments, no \\ and no ;", glob)
	case plain != glob:
		return fmt.Errorf("path %q: write it decoded, %q", glob, plain)
	}
	for s := range strings.SplitSeq(glob, "/") {
		if strings.Contains(s, "**") && s != "**" {
			return fmt.Errorf("path %q: ** stands for whole segments, as in /a/**", glob)
		}
	}
	return nil
}

// matchPath says whether a canonical path matches a glob. "*" stands for any bytes within one segment, and for at least one where
// it is the whole segment: /v1/models/* is /v1/models/x and neither /v1/models/ nor /v1/models/x/y. "**" stands for any number of
// whole segments: /v1/** is /v1, /v1/ and everything below it. Case counts; nothing else has a meaning.
func matchPath(glob, path string) bool {
	g, p := strings.Split(glob, "/"), strings.Split(path, "/")
	return matchSeries(len(g), len(p), func(i int) bool { return g[i] == "**" }, func(i, j int) bool { return matchSegment(g[i], p[j]) })
}

func matchSegment(glob, s string) bool {
	if glob == "*" {
		return s != ""
	}
	return matchSeries(len(glob), len(s), func(i int) bool { return glob[i] == '*' }, func(i, j int) bool { return glob[i] == s[j] })
}

// matchSeries matches n places of a glob with m of a text, where star places take any number. Only the last star ever needs
// another try, so no glob costs more than n times m.
func matchSeries(n, m int, star func(int) bool, equal func(int, int) bool) bool {
	i, j := 0, 0
	again, from := -1, 0
	for j < m {
		switch {
		case i < n && star(i):
			again, from = i, j
			i++
		case i < n && equal(i, j):
			i++
			j++
		case again >= 0:
			from++
			i, j = again+1, from
		default:
			return false
		}
	}
	for i < n && star(i) {
		i++
	}
	return i == n
}

// checkMethod judges a word of Rule.Methods. Methods are compared byte by byte (RFC 9110 section 9.1); that they are written in
// capitals is what keeps "get" in a profile from allowing nothing.
func checkMethod(m string) error {
	switch {
	case !token(m) || m != strings.ToUpper(m):
		return fmt.Errorf("method %q is not a method in capitals", m)
	case m == "CONNECT":
		return errors.New("method CONNECT: there is no tunnel inside of an inspected connection")
	}
	return nil
}
