package egress

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// slowSwap is what filter does, said plainly: where what was read since the last replacement ends with needles, the longest goes.
func slowSwap(list, by []string, in string) string {
	var out, since strings.Builder
	for i := range len(in) {
		since.WriteByte(in[i])
		longest := -1
		for j, s := range list {
			if s != "" && strings.HasSuffix(since.String(), s) && (longest < 0 || len(s) > len(list[longest])) {
				longest = j
			}
		}
		if longest >= 0 {
			out.WriteString(strings.TrimSuffix(since.String(), list[longest]) + by[longest])
			since.Reset()
		}
	}
	return out.String() + since.String()
}

// randomReader gives pieces of random length.
type randomReader struct {
	r   io.Reader
	rnd *rand.Rand
}

func (r randomReader) Read(p []byte) (int, error) { return r.r.Read(p[:min(len(p), 1+r.rnd.IntN(5))]) }

func scrub(s *swap, r io.Reader) (string, error) {
	out, err := io.ReadAll(&scrubbed{ReadCloser: io.NopCloser(r), swap: s})
	return string(out), err
}

// TestSwapAgainstReference: needles of two letters overlap in every way.
func TestSwapAgainstReference(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "ab"[rnd.IntN(2)]
		}
		return string(b)
	}
	changed := 0
	for range 3000 {
		s := &swap{}
		var list []string
		for range 1 + rnd.IntN(4) {
			list = append(list, word(1+rnd.IntN(6)))
			s.by = append(s.by, strings.Repeat("X", rnd.IntN(4))+"Y")
		}
		for i, w := range list { // of equal needles the first counts
			if first := slices.Index(list, w); first < i {
				s.by[i] = s.by[first]
			}
		}
		s.needles = newNeedles(list)
		in := word(rnd.IntN(60))
		want := slowSwap(list, s.by, in)
		got, err := scrub(s, randomReader{strings.NewReader(in), rnd})
		if err != nil || got != want {
			t.Fatalf("%q by %q in %q: %q, want %q (%v)", list, s.by, in, got, want, err)
		}
		if got := s.text(in); got != want {
			t.Fatalf("text: %q by %q in %q: %q, want %q", list, s.by, in, got, want)
		}
		if got != in {
			changed++
		}
	}
	if changed < 1000 {
		t.Errorf("only %d of 3000 streams changed", changed)
	}
}

const fakePlaceholder = "ghp_9876543210zyxwvuZYXWVU9876543210zyxw"

// TestSwapSpellings: the value goes in each of its spellings, in any neighbourhood, however the stream is cut.
func TestSwapSpellings(t *testing.T) {
	odd := `p/ss+w"rd=\%` + "0123456789"
	for _, value := range []string{fakeGitHub, odd, fakeJWT} {
		placeholder := strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return '9' - (r - '0')
			}
			return r
		}, value)
		s := newSwap([]string{value}, placeholder)
		if !s.even {
			t.Errorf("%q: lengths change", value)
		}
		forms := map[string]string{
			"plain":   value,
			"query":   url.QueryEscape(value),
			"path":    url.PathEscape(value),
			"hex":     hex.EncodeToString([]byte(value)),
			"HEX":     strings.ToUpper(hex.EncodeToString([]byte(value))),
			"escaped": strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(value, `\`, `\\`), `"`, `\"`), "/", `\/`),
		}
		for before := range 4 {
			for after := range 4 {
				pair := strings.Repeat("u", before) + value + strings.Repeat(":", after)
				forms["base64 "+pair] = base64.StdEncoding.EncodeToString([]byte(pair))
				forms["base64url "+pair] = base64.RawURLEncoding.EncodeToString([]byte(pair))
			}
		}
		for name, form := range forms {
			in := "<" + form + ">" + form + "\n"
			out, err := scrub(s, iotest.OneByteReader(strings.NewReader(in)))
			if err != nil || len(out) != len(in) {
				t.Fatalf("%s: %q: %q, %v", name, in, out, err)
			}
			for _, spelled := range spellings(value) {
				if spelled != "" && !slices.Contains(spellings(placeholder), spelled) && strings.Contains(out, spelled) {
					t.Errorf("%s: %q still holds %q", name, out, spelled)
				}
			}
			if out == in || !strings.HasPrefix(out, "<") || !strings.HasSuffix(out, ">"+out[1:strings.Index(out, ">")]+"\n") {
				t.Errorf("%s: %q became %q", name, in, out)
			}
			if out != s.text(in) {
				t.Errorf("%s: text gives %q, the stream %q", name, s.text(in), out)
			}
		}
		if near := value[:len(value)-1] + "!"; s.text(near) != near {
			t.Errorf("control: %q became %q", near, s.text(near))
		}
	}
}

// TestSwapHoldsNothingBack: what cannot be the beginning of a value is there before the next byte comes.
func TestSwapHoldsNothingBack(t *testing.T) {
	s := newSwap([]string{fakeGitHub}, fakePlaceholder)
	for _, tc := range []struct{ sent, there string }{
		{"data: {\"a\":1}\n\n", "data: {\"a\":1}\n\n"},
		{"data: ", "data: "},
		{"data: ghp_01", "data: "},
		{"data: " + fakeGitHub, "data: " + fakePlaceholder},
		{"data: ghp_01\n\n", "data: ghp_01\n\n"},
		{"ghp_ghp_012", "ghp_"},
	} {
		var f filter
		if out := string(f.feed(s, nil, []byte(tc.sent))); out != tc.there {
			t.Errorf("%q: %q is there, want %q", tc.sent, out, tc.there)
		}
	}
	// The same through a body, whose source has nothing more to say.
	r, w := io.Pipe()
	body := &scrubbed{ReadCloser: r, swap: s}
	go io.WriteString(w, "data: 1\n\n")
	buf := make([]byte, 64)
	if n, err := body.Read(buf); err != nil || string(buf[:n]) != "data: 1\n\n" {
		t.Errorf("%q, %v", buf[:n], err)
	}
	_ = w.Close()
}

// TestScrubbedKeepsErrors: what was read before an error arrives, but for what may be the beginning of a value, then the error.
func TestScrubbedKeepsErrors(t *testing.T) {
	s := newSwap([]string{fakeGitHub}, fakePlaceholder)
	out, err := scrub(s, io.MultiReader(strings.NewReader("abc ghp_0"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if out != "abc " || err != io.ErrUnexpectedEOF {
		t.Errorf("%q, %v", out, err)
	}
}

func TestPlainEncoding(t *testing.T) {
	for _, tc := range []struct {
		values      []string
		plain, gzip bool
	}{
		{nil, true, false}, {[]string{"identity"}, true, false}, {[]string{""}, true, false}, {[]string{"gzip"}, false, true},
		{[]string{"x-GZIP"}, false, true}, {[]string{"br"}, false, false}, {[]string{"gzip, br"}, false, false},
		{[]string{"gzip", "gzip"}, false, false}, {[]string{"identity, gzip"}, false, true},
	} {
		if plain, gz := plainEncoding(http.Header{"Content-Encoding": tc.values}); plain != tc.plain || gz != tc.gzip {
			t.Errorf("%q: %v %v", tc.values, plain, gz)
		}
	}
}

// FuzzSwap: the stream is what the slow reference makes of it where nothing is escaped, and the same wherever it is cut.
func FuzzSwap(f *testing.F) {
	f.Add("correcthorse", "batterystapl", "the correcthorsecorrecthors", uint8(3))
	f.Add(fakeGitHub, fakePlaceholder, base64.StdEncoding.EncodeToString([]byte("u:"+fakeGitHub)), uint8(1))
	f.Add("abcabcabd", "xyzxyzxyz", "abcabcabcabd", uint8(7))
	f.Fuzz(func(t *testing.T, value, placeholder, in string, cut uint8) {
		if usable(value) != nil || usable(placeholder) != nil || len(value) > 64 || len(in) > 512 || strings.Contains(placeholder, value) {
			return
		}
		s := newSwap([]string{value}, placeholder)
		var list []string
		for i, text := range spellings(value) {
			if text != spellings(placeholder)[i] {
				list = append(list, text)
			}
		}
		want := slowSwap(list, s.by, in)
		var f filter
		var out []byte
		for piece := range slices.Chunk([]byte(in), int(cut)+1) {
			out = f.feed(s, out, piece)
		}
		out = f.end(s, out)
		if whole := s.text(in); string(out) != whole {
			t.Errorf("%q in pieces, %q whole", out, whole)
		}
		if !strings.ContainsAny(in, "%\\&\x00\r\n") && string(out) != want { // else escapes and line ends are taken out
			t.Errorf("%q, want %q", out, want)
		}
	})
}

func BenchmarkSwap(b *testing.B) {
	s := newSwap([]string{fakeAnthropic}, strings.ToUpper(fakeAnthropic))
	text := bytes.Repeat([]byte(`data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello sk"}}`+"\n\n"), 400)
	b.SetBytes(int64(len(text)))
	var f filter
	var out []byte
	for b.Loop() {
		out = f.feed(s, out[:0], text)
	}
}

// inLines breaks text into lines of a width.
func inLines(s string, width int, end string) string {
	var lines []string
	for len(s) > width {
		lines, s = append(lines, s[:width]), s[width:]
	}
	return strings.Join(append(lines, s), end)
}

// TestSwapInLines: what is encoded goes wherever a program has broken it into lines, and the lines stay as they are.
func TestSwapInLines(t *testing.T) {
	s := newSwap([]string{fakeGitHub}, fakePlaceholder)
	for name, encode := range map[string]func([]byte) string{
		"base64": base64.StdEncoding.EncodeToString, "base64url": base64.RawURLEncoding.EncodeToString, "hexadecimal": hex.EncodeToString,
	} {
		for _, end := range []string{"\n", "\r\n", "\r", `\n`, `\r\n`, `\\n`, "%0A", "%0d%0a", `\012`, "&#10;"} {
			for _, width := range []int{1, 4, 20, 76} {
				for before := range 76 {
					code := encode([]byte(strings.Repeat("u", before) + fakeGitHub + "::"))
					write := func(code string) string { return `{"a":"` + inLines(code, width, end) + `"}` }
					in, want := write(code), write(s.text(code))
					if in == want {
						t.Fatalf("control: %q stays", code)
					}
					for _, piece := range []int{1, 7, 1 << 20} {
						var f filter
						var out []byte
						for part := range slices.Chunk([]byte(in), piece) {
							out = f.feed(s, out, part)
						}
						if out = f.end(s, out); string(out) != want {
							t.Fatalf("%s by %q, %d wide, behind %d, in pieces of %d:\n%q, want\n%q", name, end, width, before, piece, out, want)
						}
					}
				}
			}
		}
	}
	// Controls: a blank line is none of an encoder's, and in clear text a line end is one.
	for _, in := range []string{inLines(hex.EncodeToString([]byte(fakeGitHub)), 20, "\n\n"), inLines(hex.EncodeToString([]byte(fakeGitHub)), 20, "\r\n\r\n")} {
		if out := s.text(in); out != in {
			t.Errorf("control: %q became %q", in, out)
		}
	}
}

// TestSwapHoldsABound: no stream makes the filter keep more than a few needles of it.
func TestSwapHoldsABound(t *testing.T) {
	s := newSwap([]string{fakeGitHub}, fakePlaceholder)
	code := base64.StdEncoding.EncodeToString([]byte(fakeGitHub))
	for name, in := range map[string]string{
		"zero bytes":               "g" + strings.Repeat("\x00", 1<<16),
		"zero bytes in an escape":  "%" + strings.Repeat("\x00", 1<<16),
		"escaped zero bytes":       "g" + strings.Repeat("%00", 1<<14),
		"line ends":                code[:10] + strings.Repeat("\r\n", 1<<14),
		"beginnings of needles":    strings.Repeat(code[:20]+"\n", 1<<10),
		"beginnings of one letter": strings.Repeat("g\x00", 1<<14),
	} {
		var f filter
		out, most := []byte{}, 0
		for i := range len(in) {
			out = f.feed(s, out, []byte(in[i:i+1]))
			most = max(most, len(f.held))
		}
		if out = f.end(s, out); string(out) != in {
			t.Errorf("%s: the stream has changed", name)
		}
		if most > 1<<10 {
			t.Errorf("%s: %d bytes are held", name, most)
		}
	}
}

// BenchmarkSwapLines has base64 in lines, which are looked at in three views for some bytes.
func BenchmarkSwapLines(b *testing.B) {
	s := newSwap([]string{fakeAnthropic}, strings.ToUpper(fakeAnthropic))
	text := []byte(inLines(base64.StdEncoding.EncodeToString(noise(32<<10)), 76, "\n"))
	b.SetBytes(int64(len(text)))
	var f filter
	var out []byte
	for b.Loop() {
		out = f.feed(s, out[:0], text)
	}
}
