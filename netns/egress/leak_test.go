package egress

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

func nobodys(int) bool { return false }

// percentAll encodes every byte, whether it needs it or not.
func percentAll(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

// percentSome encodes bytes at random.
func percentSome(s string, rnd *rand.Rand) string {
	var b strings.Builder
	for i := range len(s) {
		if rnd.IntN(3) == 0 || s[i] == '%' {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// TestTripwire: a placeholder is found in every spelling, wherever the stream is cut.
func TestTripwire(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	wire := newTripwire([]string{"other-placeholder-0000", fakePlaceholder})
	forms := map[string]string{
		"plain":               fakePlaceholder,
		"the end of it":       fakePlaceholder[len(fakePlaceholder)-coreLength:],
		"hex":                 hex.EncodeToString([]byte(fakePlaceholder)),
		"HEX":                 strings.ToUpper(hex.EncodeToString([]byte(fakePlaceholder))),
		"percent":             percentAll(fakePlaceholder),
		"percent twice":       percentAll(percentAll(fakePlaceholder)),
		"QueryEscape twice":   url.QueryEscape(percentAll(fakePlaceholder)),
		"stray percent signs": "100%" + percentAll(fakePlaceholder) + "%",
		"stray digit":         "%4" + percentAll(fakePlaceholder),
		"behind a beginning":  fakePlaceholder[8:20] + fakePlaceholder,
	}
	for before := range 3 {
		pair := strings.Repeat("u", before) + fakePlaceholder + ":x"
		text := base64.StdEncoding.EncodeToString([]byte(pair))
		forms[fmt.Sprint("base64 ", before)] = text
		forms[fmt.Sprint("base64url ", before)] = base64.RawURLEncoding.EncodeToString([]byte(pair))
		forms[fmt.Sprint("base64, percent ", before)] = percentAll(text)
		forms[fmt.Sprint("base64, wrapped ", before)] = text[:20] + "\r\n" + text[20:40] + "\n" + text[40:]
	}
	for name, text := range echoes(fakePlaceholder) {
		forms[name] = text
	}
	for before := range 3 {
		pad := strings.Repeat("u", before)
		for name, code := range map[string]*base64.Encoding{"base64": base64.StdEncoding, "base64url": base64.RawURLEncoding} {
			for inner := range 3 {
				pair := strings.Repeat("v", inner) + fakePlaceholder + "w"
				forms[fmt.Sprint(name, " of base64 ", before, inner)] = code.EncodeToString([]byte(pad + base64.StdEncoding.EncodeToString([]byte(pair)) + "x"))
				forms[fmt.Sprint(name, " of base64url ", before, inner)] = code.EncodeToString([]byte(pad + base64.RawURLEncoding.EncodeToString([]byte(pair)) + "x"))
			}
			forms[fmt.Sprint(name, " of hex ", before)] = code.EncodeToString([]byte(pad + hex.EncodeToString([]byte(fakePlaceholder)) + "x"))
			forms[fmt.Sprint(name, " of UTF-16 ", before)] = code.EncodeToString([]byte(pad + wide(fakePlaceholder, 0)))
		}
	}
	forms["wrapped in JSON"] = strings.ReplaceAll(wrapped(base64.StdEncoding.EncodeToString([]byte(fakePlaceholder))), "\r\n", `\n`)
	for i := range 50 {
		forms[fmt.Sprint("percent, some ", i)] = percentSome(fakePlaceholder, rnd)
		forms[fmt.Sprint("percent twice, some ", i)] = percentSome(percentSome(fakePlaceholder, rnd), rnd)
	}
	for name, form := range forms {
		in := `{"a":"%zz` + form + `"}`
		whole := wire.search(nobodys)
		if found := whole.feed([]byte(in)); found != 1 {
			t.Errorf("%s: %q: found %d", name, in, found)
		}
		// In pieces: it is found in the piece that completes it, and in no earlier one.
		pieces := wire.search(nobodys)
		found, at := -1, 0
		for ; at < len(in) && found < 0; at++ {
			found = pieces.feed([]byte(in[at : at+1]))
		}
		if found != 1 || at < len(in)-len(form) {
			t.Errorf("%s: byte by byte: found %d after %d of %d bytes", name, found, at, len(in))
		}
		if again := wire.search(func(i int) bool { return i == 1 }).feed([]byte(in)); again != -1 {
			t.Errorf("%s: control: found %d where it belongs", name, again)
		}
	}
	for name, text := range map[string]string{
		"nothing":         "",
		"without its end": `{"a":"` + fakePlaceholder[:len(fakePlaceholder)-1] + `"}`,
		"reversed":        "wxyz01234567",
		"prefix":          "ghp_ghp_ghp_",
		"percent signs":   strings.Repeat("%", 500),
	} {
		if found := wire.search(nobodys).feed([]byte(text)); found != -1 {
			t.Errorf("control: %s: found %d", name, found)
		}
	}
}

// TestWatchedBody: a body ends in the refusal before the placeholder in it is whole, and what is not one arrives byte for byte.
func TestWatchedBody(t *testing.T) {
	refusal := errors.New("refused")
	watch := func(r io.Reader, trailer http.Header) *watched {
		return &watched{
			ReadCloser: io.NopCloser(r),
			search:     newTripwire([]string{fakePlaceholder}).search(nobodys),
			trailer:    func() http.Header { return trailer },
			refuse:     func(int, string) error { return refusal },
		}
	}
	text := strings.Repeat("x%20", 5000) + fakePlaceholder + " and more"
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(text), "bytes": iotest.OneByteReader(strings.NewReader(text)), "halves": iotest.HalfReader(strings.NewReader(text)),
		"with the end": iotest.DataErrReader(strings.NewReader(text)),
	} {
		body := watch(r, nil)
		out, err := io.ReadAll(body)
		if err != refusal || strings.Contains(string(out), fakePlaceholder) || !strings.HasPrefix(text, string(out)) {
			t.Errorf("%s: %d bytes, %v", name, len(out), err)
		}
		if n, err := body.Read(make([]byte, 10)); n != 0 || err != refusal {
			t.Errorf("%s: it goes on: %d, %v", name, n, err)
		}
		if out, err := io.ReadAll(watch(strings.NewReader(strings.ToUpper(text)), nil)); err != nil || string(out) != strings.ToUpper(text) {
			t.Errorf("%s: control: %d bytes, %v", name, len(out), err)
		}
	}
	if _, err := io.ReadAll(watch(strings.NewReader("x"), http.Header{"X-T": {"a " + fakePlaceholder}})); err != refusal {
		t.Errorf("trailer: %v", err)
	}
	if _, err := io.ReadAll(watch(strings.NewReader("x"), http.Header{"X-T": {"a"}})); err != nil {
		t.Errorf("control: trailer: %v", err)
	}
}

// FuzzTripwire: cutting a stream changes nothing, decoding by hand finds as much, and nothing is found in what no spelling is in.
func FuzzTripwire(f *testing.F) {
	f.Add("a%2", fakePlaceholder, uint8(1))
	f.Add("%%32%35", percentAll(fakePlaceholder), uint8(4))
	f.Add("", base64.StdEncoding.EncodeToString([]byte("u:"+fakePlaceholder)), uint8(9))
	wire := newTripwire([]string{fakePlaceholder})
	f.Fuzz(func(t *testing.T, before, text string, cut uint8) {
		in := before + text
		whole := wire.search(nobodys).feed([]byte(in))
		pieces, found := wire.search(nobodys), -1
		for rest := in; rest != ""; {
			n := min(len(rest), int(cut)+1)
			found = max(found, pieces.feed([]byte(rest[:n])))
			rest = rest[n:]
		}
		if whole != found {
			t.Errorf("%q: %d whole, %d in pieces", in, whole, found)
		}
		want := -1
		for level, once := 0, strings.NewReplacer("\r", "", "\n", "").Replace(in); level < 3; level++ {
			for _, s := range append(spellings(core(fakePlaceholder)), nested(core(fakePlaceholder))...) {
				if strings.Contains(strings.NewReplacer("\r", "", "\n", "").Replace(once), s) {
					want = 0
				}
			}
			once = slowUnescape(once)
		}
		// Line ends are passed over after decoding, so one inside an escape ends that escape: the reference only says where there are none.
		if !strings.ContainsAny(in, "\r\n") && whole != want {
			t.Errorf("%q: found %d, want %d", in, whole, want)
		}
	})
}

var escapes = regexp.MustCompile(`%[0-9A-Fa-f]{2}|\\u00[0-9A-Fa-f]{2}|\\x[0-9A-Fa-f]{2}|\\[nr"'\\/]|\\(?:[0-3][0-7]{2}|[0-7]{1,2})|&(?:amp|lt|gt|quot|apos);|&#(?:[0-9]{1,8}|[xX][0-9A-Fa-f]{1,7});`)

// slowUnescape is what unescaper does, said in another way.
func slowUnescape(s string) string {
	return escapes.ReplaceAllStringFunc(strings.ReplaceAll(s, "\x00", ""), func(e string) string {
		if named, ok := map[string]string{"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": `"`, "&apos;": "'", `\n`: "\n", `\r`: "\r"}[e]; ok {
			return named
		}
		digits, base := strings.TrimLeft(strings.TrimSuffix(e, ";"), `%\&#uxX`), 16
		switch {
		case e[0] == '\\' && '0' <= e[1] && e[1] <= '7':
			digits, base = e[1:], 8
		case e[0] == '\\' && len(e) == 2:
			return e[1:]
		case e[0] == '&' && e[2] != 'x' && e[2] != 'X':
			base = 10
		}
		n, err := strconv.ParseUint(digits, base, 64)
		if err != nil || n > 255 {
			return e
		}
		return string([]byte{byte(n)})
	})
}

func BenchmarkTripwire(b *testing.B) {
	wire := newTripwire([]string{fakePlaceholder, fakeAnthropic, fakeJWT})
	binary := make([]byte, 32<<10)
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range binary {
		binary[i] = byte(rnd.IntN(256))
	}
	b.SetBytes(int64(len(binary)))
	s := wire.search(nobodys)
	for b.Loop() {
		s.feed(binary)
	}
}
