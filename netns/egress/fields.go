package egress

import (
	"net/http"
	"slices"
	"strings"
)

// longest is how much of a field's name is looked at, in bytes. It is longer than any that means something here.
const longest = 256

// field gives a parameter's name as the most lenient server reads it, in small letters: percent escapes decoded, cut at NUL, spaces
// around it gone, and in it and for "." and for "[" that nothing closes "_" (PHP's php_register_variable_ex). parts are the pieces between
// brackets, at least one.
func field(name string) (whole string, parts []string) {
	s, _, _ := strings.Cut(decoded(name), "\x00")
	s = strings.NewReplacer(" ", "_", ".", "_").Replace(strings.TrimSpace(strings.ToLower(s)))
	parts = strings.FieldsFunc(s, func(c rune) bool { return c == '[' || c == ']' })
	if len(parts) == 0 {
		parts = []string{""}
	}
	s = strings.TrimSuffix(s, "[]")
	if !strings.Contains(s, "]") {
		s = strings.ReplaceAll(s, "[", "_")
	}
	return s, parts
}

// decoded takes percent escapes out and leaves what is none.
func decoded(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			out = append(out, ' ')
		case s[i] == '%' && i+2 < len(s) && hexDigit(s[i+1]) && hexDigit(s[i+2]):
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			out = append(out, s[i])
		}
	}
	return string(out)
}

// content is what a server may read a body as.
type content struct {
	form, parts, json bool
	charset           string // one in which names are not ASCII, or ""
}

// contentOf judges by each word of the Content-Type: some servers cut it at ";", some at "," or a space, and mime.ParseMediaType takes
// fewer than they do. A body without a type is a form to Rack, and JSON to those who never look.
func contentOf(header http.Header) content {
	var c content
	typed := false
	for _, value := range header["Content-Type"] {
		value = strings.ToLower(value)
		for word := range strings.FieldsFuncSeq(value, func(r rune) bool { return strings.ContainsRune(";, \t\"'=", r) }) {
			typed = true
			switch word {
			case "application/x-www-form-urlencoded":
				c.form = true
			case "application/json", "text/json", "application/x-json", "text/x-json", "application/jsonrequest":
				c.json = true
			}
			c.json = c.json || strings.HasSuffix(word, "+json")
			c.parts = c.parts || strings.HasPrefix(word, "multipart/") // Rack reads "mixed" and "related" as well
		}
		for rest := value; ; {
			_, after, found := strings.Cut(rest, "charset")
			if !found {
				break
			}
			rest = after
			name, found := strings.CutPrefix(strings.TrimLeft(after, " \t*"), "=")
			name = strings.TrimLeft(name, " \t\"'")
			if end := strings.IndexAny(name, " \t\"',;"); end >= 0 {
				name = name[:end]
			}
			if found && !slices.Contains([]string{"", "utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "windows-1252"}, name) {
				c.charset = name
			}
		}
	}
	if !typed {
		c.form, c.json = true, true
	}
	return c
}

// formNames finds the names in application/x-www-form-urlencoded.
type formNames struct {
	name []byte
	over bool // in the value
}

// take is told the next byte, and gives the name that ends with it or "".
func (f *formNames) take(c byte) string {
	switch {
	case c == '&' || c == ';': // a separator to some servers (HTML 4.01 appendix B.2.2)
		f.name, f.over = f.name[:0], false
	case f.over:
	case c == '=':
		f.over = true
		return string(f.name)
	case len(f.name) < longest:
		f.name = append(f.name, c)
		if len(f.name) <= len("%20") && strings.TrimSpace(decoded(string(f.name))) == "" { // however many there are
			f.name = f.name[:0]
		}
	}
	return ""
}

// partNames finds the names in multipart/form-data (RFC 7578), wherever "name=" stands: what a boundary is, and how a value is quoted,
// each server says in its own way.
type partNames struct {
	key   int  // bytes of "name" that were seen
	last  byte // before those
	wait  bool // for "="
	begun bool // a value
	value []byte
}

// take is told the next byte, and gives what may be a name that ends with it or "".
func (p *partNames) take(c byte) (name string) {
	const key = "name"
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	if p.begun {
		name = p.collect(c)
	}
	if p.wait {
		switch {
		case c == '=':
			p.wait, p.begun, p.value = false, true, p.value[:0]
			return name
		case !strings.ContainsRune(" \t\r\n*0123456789", rune(c)):
			p.wait = false
		}
	}
	switch {
	case c == key[p.key] && (p.key > 0 || !('a' <= p.last && p.last <= 'z')):
		p.key++
	default:
		p.key = 0
	}
	if p.key == len(key) {
		p.key, p.wait = 0, true
	}
	p.last = c
	return name
}

func (p *partNames) collect(c byte) string {
	ended := string(p.value)
	switch {
	case c == '\\':
		return ""
	case c == '\'': // of RFC 8187, or a quote
		p.value = p.value[:0]
	case c == '"':
	case strings.IndexByte(" \t\r\n", c) >= 0 && ended == "":
		return ""
	case c == '\r' || c == '\n':
		p.begun = false
	case len(ended) == longest:
		p.begun = false
	default:
		p.value = append(p.value, c)
		if strings.IndexByte("; \t,", c) < 0 {
			return ""
		}
	}
	return ended
}
