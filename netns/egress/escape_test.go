package egress

import (
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
)

// wide is s in UTF-16; first is 0 for little and 1 for big endian.
func wide(s string, first int) string {
	var b strings.Builder
	for i := range len(s) {
		pair := [2]byte{s[i], 0}
		b.WriteByte(pair[first])
		b.WriteByte(pair[1-first])
	}
	return b.String()
}

// eachByte writes every byte in one form.
func eachByte(format, s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, format, s[i])
	}
	return b.String()
}

// echoes are the ways in which programs write a text into another one.
func echoes(s string) map[string]string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	inJSON := strings.Trim(string(text), `"`)
	return map[string]string{
		"percent, all":              eachByte("%%%02X", s),
		"percent, all, small":       eachByte("%%%02x", s),
		"query, small":              strings.ToLower(url.QueryEscape(s[:0])) + strings.NewReplacer("%2F", "%2f", "%2B", "%2b", "%3D", "%3d", "%22", "%22", "%5C", "%5c", "%26", "%26").Replace(url.PathEscape(s)),
		"path, with its slashes":    strings.ReplaceAll(url.PathEscape(s), "%2F", "/"),
		"percent, twice":            eachByte("%%25%02x", s),
		"JSON, all":                 eachByte(`\u%04x`, s),
		"JSON, all, capitals":       eachByte(`\u%04X`, s),
		"JSON":                      inJSON,
		"JSON, slashes":             strings.ReplaceAll(inJSON, "/", `\/`),
		"JSON, minus":               strings.ReplaceAll(inJSON, "-", `\u002d`),
		"JSON in JSON":              strings.ReplaceAll(strings.ReplaceAll(inJSON, `\`, `\\`), `"`, `\"`),
		"JSON in JSON, all":         eachByte(`\\u%04x`, s),
		"C":                         eachByte(`\x%02x`, s),
		"C, octal, all":             eachByte(`\%03o`, s),
		"C, octal, short, all":      eachByte(`\%o`, s),
		"C, octal in JSON, all":     eachByte(`\\%03o`, s),
		"UTF-16, octal":             wide(eachByte(`\%03o`, s), 0),
		"HTML":                      html.EscapeString(s),
		"HTML, all":                 eachByte("&#x%x;", s),
		"HTML, all, long":           eachByte("&#x%04X;", s),
		"HTML, all, decimal":        eachByte("&#%03d;", s),
		"HTML, quotes":              strings.ReplaceAll(strings.ReplaceAll(s, "&", "&amp;"), `"`, "&quot;"),
		"UTF-16, little endian":     wide(s, 0),
		"UTF-16, big endian":        wide(s, 1),
		"UTF-16, percent":           wide(eachByte("%%%02x", s), 0),
		"UTF-16, JSON, big endian":  wide(eachByte(`\u%04x`, s), 1),
		"UTF-16, each percent byte": eachByte("%%%02x%%00", s),
	}
}

// TestEchoes: a value comes back as the placeholder, in whatever it is wrapped in, however the stream is cut, and in the same length.
func TestEchoes(t *testing.T) {
	odd, shown := `p/sS+w"rd=\%&<'`+"0123456789", `q/tT+x"se=\%&<'`+"9876543210"
	for _, pair := range [][2]string{{fakeGitHub, fakePlaceholder}, {odd, shown}, {"p a/ss word9", "q b/tt xpse8"}} {
		value, placeholder := pair[0], pair[1]
		s := newSwap([]string{value}, placeholder)
		want := echoes(placeholder)
		for name, text := range echoes(value) {
			in, out := "<"+text+">"+text+"\n", "<"+want[name]+">"+want[name]+"\n"
			for _, piece := range []int{1, 2, 7, 1 << 20} {
				var f filter
				var got []byte
				for rest := in; rest != ""; {
					n := min(piece, len(rest))
					got = f.feed(s, got, []byte(rest[:n]))
					rest = rest[n:]
				}
				if got = f.end(s, got); string(got) != out && !(strings.Contains(name, "all") && strings.EqualFold(string(got), out)) {
					t.Fatalf("%s in pieces of %d:\n%q became\n%q, want\n%q", name, piece, in, got, out)
				}
			}
			if near := text[:len(text)/2] + "!" + text[len(text)/2:]; s.text(near) != near && len(value) > 12 {
				t.Errorf("control: %s: %q became %q", name, near, s.text(near))
			}
		}
	}
}

// TestEchoOfAnotherLength: a placeholder that is longer, or shorter, stands there whole.
func TestEchoOfAnotherLength(t *testing.T) {
	for _, placeholder := range []string{"hunter33abcdefgh", "short"} {
		s := newSwap([]string{"hunter22"}, placeholder)
		if s.even {
			t.Error("even")
		}
		for name, text := range echoes("hunter22") {
			got := s.text("<" + text + ">")
			if once := slowUnescape(slowUnescape(got)); once != "<"+placeholder+">" && !strings.HasPrefix(name, "HTML, all, dec") {
				t.Errorf("%s: %q reads %q", name, got, once)
			}
		}
	}
}

// TestEscapesAgainstReference: what unescaper makes of text is what a regular expression does.
func FuzzUnescape(f *testing.F) {
	for _, text := range echoes(`a"b/c&d`) {
		f.Add([]byte(text))
	}
	f.Add([]byte("%%41%4%zz&&#&#x;&#0000065;\\\\u00\\u0041&am&amp;%"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var u unescaper
		var units []unit
		for _, c := range in {
			units = u.put(units, unit{c: c, size: 1})
		}
		var out []byte
		size := 0
		for _, u := range u.flush(units) {
			size += u.size
			if !u.mute {
				out = append(out, u.c)
			}
		}
		if size != len(in) {
			t.Errorf("%q: units of %d bytes", in, size)
		}
		if want := slowUnescape(string(in)); string(out) != strings.ReplaceAll(want, "\x00", "") && !strings.Contains(want, "\x00") {
			t.Errorf("%q: %q, want %q", in, out, want)
		}
	})
}

// TestEscapeAtTheEnd: an escape that could be longer is whole where the stream ends, in one view and in two.
func TestEscapeAtTheEnd(t *testing.T) {
	s := newSwap([]string{"hunter22"}, "sfmgvi33")
	for _, format := range []string{`\%o`, `\\%o`} {
		if got, want := s.text(eachByte(format, "hunter22")), eachByte(format, "sfmgvi33"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if got := s.text(eachByte(format, "hunter2")); got != eachByte(format, "hunter2") {
			t.Errorf("control: %q", got)
		}
	}
}
