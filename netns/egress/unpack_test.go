package egress

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"testing"
	"testing/iotest"
)

// packed compresses.
func packed(how, text string) []byte {
	var out bytes.Buffer
	var w io.WriteCloser
	switch how {
	case "gzip":
		w = gzip.NewWriter(&out)
	case "zlib":
		w = zlib.NewWriter(&out)
	case "flate":
		w, _ = flate.NewWriter(&out, flate.BestSpeed)
	}
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return out.Bytes()
}

// noise is bytes that cannot be compressed, the same each time.
func noise(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func unpacking(body io.Reader, encoding string, found func(p []byte) error) *unpacked {
	return &unpacked{ReadCloser: io.NopCloser(body), decode: decoder(http.Header{"Content-Encoding": {encoding}}), found: found}
}

// TestUnpackedPasses: what is given on is what came, whatever it is.
func TestUnpackedPasses(t *testing.T) {
	clear := string(noise(300<<10)) + string(make([]byte, 3<<20))
	for name, body := range map[string][]byte{
		"gzip": packed("gzip", clear), "zlib": packed("zlib", clear), "flate": packed("flate", clear), "empty": {}, "short": {0x1f},
		"not what it says": noise(1 << 20), "cut": packed("gzip", clear)[:200<<10], "more behind": append(packed("zlib", clear), noise(9<<10)...),
		"nothing comes of it": bytes.Repeat([]byte{0, 0, 0, 0xff, 0xff}, 1<<20), // empty blocks
	} {
		for _, encoding := range []string{"gzip", "deflate", "deflate, gzip"} {
			for how, from := range map[string]io.Reader{
				"": bytes.NewReader(body), "data with EOF": iotest.DataErrReader(bytes.NewReader(body)), "half": iotest.HalfReader(bytes.NewReader(body)),
			} {
				u := unpacking(from, encoding, func([]byte) error { return nil })
				got, err := io.ReadAll(u)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("%s as %s %s: %d bytes of %d, %v", name, encoding, how, len(got), len(body), err)
				}
				if cap(u.ahead) > 4<<20 {
					t.Errorf("%s as %s: held %d bytes", name, encoding, cap(u.ahead))
				}
			}
		}
	}
	for _, encoding := range []string{"", "identity", "br", "zstd", "gzip, br"} {
		if decoder(http.Header{"Content-Encoding": {encoding}}) != nil {
			t.Errorf("%q is decoded", encoding)
		}
	}
}

// TestUnpackedIsBounded: a bomb costs so much and no more, and passes as it came.
func TestUnpackedIsBounded(t *testing.T) {
	bomb := packed("gzip", string(make([]byte, maxUnpacked+1<<20)))
	seen := 0
	got, err := io.ReadAll(unpacking(bytes.NewReader(bomb), "gzip", func(p []byte) error { seen += len(p); return nil }))
	if err != nil || !bytes.Equal(got, bomb) {
		t.Errorf("%d bytes of %d, %v", len(got), len(bomb), err)
	}
	if seen > maxUnpacked+8<<10 {
		t.Errorf("decoded %d bytes", seen)
	}
}

// FuzzUnpacked: bytes pass as they came, and a body whose text is refused is never whole.
func FuzzUnpacked(f *testing.F) {
	f.Add(packed("gzip", "text"), "gzip", "x")
	f.Add(packed("zlib", "text"), "deflate", "text")
	f.Add(packed("flate", string(packed("gzip", "text"))), "gzip,deflate", "e")
	f.Add([]byte{0x78, 0x9c}, "deflate", "")
	f.Fuzz(func(t *testing.T, body []byte, encoding, word string) {
		if decoder(http.Header{"Content-Encoding": {encoding}}) == nil {
			return
		}
		if got, err := io.ReadAll(unpacking(bytes.NewReader(body), encoding, func([]byte) error { return nil })); err != nil || !bytes.Equal(got, body) {
			t.Fatalf("%x, %v; want %x", got, err, body)
		}
		why := errors.New("found")
		said := packed("gzip", string(body)+word)
		got, err := io.ReadAll(unpacking(bytes.NewReader(said), "gzip", func(p []byte) error {
			if len(p) > 0 {
				return why
			}
			return nil
		}))
		if len(body)+len(word) > 0 && (err != why || len(got) >= len(said)) {
			t.Fatalf("%d of %d bytes, %v", len(got), len(said), err)
		}
	})
}
