package egress

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
)

// Values that no service has given out.
const (
	fakeAnthropic = "sk-ant-api03-Zq3vN8sT-wK1mB7xR_pL5dH2gF9jC4yU6oA0eIiOoUuYyTtRrEeWwQq-AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-AbCdEfGAA"
	fakeJWT       = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIiwiZXhwIjo0MTAyNDQ0ODAwfQ.uG3b5Q4cR8a1Zx0Wv9Ut7Sr6Qp5On4Ml3Kj2Ih1Gf0E"
	fakeGitHub    = "ghp_0123456789abcdefABCDEF0123456789abcd"
)

func TestPlaceholderKeepsTheShape(t *testing.T) {
	for _, tc := range []struct{ name, value, shape string }{
		{"anthropic", fakeAnthropic, `^sk-ant-api03-[A-Za-z0-9_-]{93,}$`},
		{"anthropic oauth", "sk-ant-oat01-aB3dE5gH7jK9mN1pQ3sT5vW7yZ9-_AA", `^sk-ant-oat01-[a-zA-Z0-9]{27}-_[A-Z]{2}$`},
		{"openai", "sk-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL", `^sk-[a-z]{26}[0-9]{10}[A-Z]{12}$`},
		{"openai project", "sk-proj-abcdefghijklmnop0123456789", `^sk-proj-[a-z]{16}[0-9]{10}$`},
		{"github", fakeGitHub, `^ghp_[0-9]{10}[a-z]{6}[A-Z]{6}[0-9]{10}[a-z]{4}$`},
		{"github fine", "github_pat_11ABCDEFG0abcdefghijkl_ABCDEFGHIJ0123456789", `^github_pat_[0-9]{2}[A-Z]{7}[0-9][a-z]{12}_[A-Z]{10}[0-9]{10}$`},
		{"slack", "xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx", `^xoxb-[0-9]{12}-[0-9]{13}-([A-Z][a-z]){12}$`},
		{"aws id", "AKIAIOSFODNN7EXAMPLE", `^AKIA[A-Z]{8}[0-9][A-Z]{7}$`},
		{"google", "AIzaSyA1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q", `^AIza[A-Za-z0-9]{35}$`},
		{"jwt", fakeJWT, `^eyJhbGciOiJIUzI1NiJ9\.eyJzdWIiOiJ[h-z0-6]IiwiZXhwIjo0MTAyNDQ0ODAwfQ\.[A-Za-z0-9]{42}E$`},
		{"uuid", "3f2504e0-4f89-41d3-9a0c-0305e82c3301", `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-9[0-9a-f]{3}-[0-9a-f]{12}$`},
		{"hex", "0123456789abcdef0123456789abcdef", `^[0-9a-f]{32}$`},
		{"HEX", "0123456789ABCDEF0123456789ABCDEF", `^[0-9A-F]{32}$`},
		{"letters", "correcthorsebatterystaple", `^[a-z]{25}$`},
		{"punctuation", "aB3$eF6&hI9*kL2(nO5)qR8", `^[a-z][A-Z][0-9]\$[a-z][A-Z][0-9]&[a-z][A-Z][0-9]\*[a-z][A-Z][0-9]\([a-z][A-Z][0-9]\)[a-z][A-Z][0-9]$`},
		// Too short for 64 bits: as long as that needs.
		{"short", "hunter22", `^[a-z]{6}[0-9]{2}[a-z0-9]{6}$`},
		{"digits", "12345678", `^[0-9]{8}[a-z0-9]{8}$`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			shape := regexp.MustCompile(tc.shape)
			if tc.name != "short" && tc.name != "digits" && !shape.MatchString(tc.value) {
				t.Fatalf("control: the value %q has not the shape %s", tc.value, tc.shape)
			}
			seen := map[string]bool{}
			for range 50 {
				p, err := Placeholder(tc.value, rand.Reader)
				if err != nil {
					t.Fatal(err)
				}
				if !shape.MatchString(p) {
					t.Fatalf("%q has not the shape %s", p, tc.shape)
				}
				if p == tc.value || seen[p] {
					t.Fatalf("%q again", p)
				}
				if len(p) < len(tc.value) {
					t.Fatalf("%q is shorter", p)
				}
				seen[p] = true
			}
		})
	}
}

// TestPlaceholderIsRandom: in each place that is not the shape's, every character of the class comes up.
func TestPlaceholderIsRandom(t *testing.T) {
	seen := map[byte]bool{}
	for range 400 {
		p, err := Placeholder("sk-abcdefghijklmnopqrstuvwxyz", rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		seen[p[10]] = true
	}
	if len(seen) != 26 {
		t.Errorf("%d letters in 400 placeholders, want 26", len(seen))
	}
}

func TestPlaceholderRefuses(t *testing.T) {
	for name, value := range map[string]string{
		"empty": "", "short": "hunter2", "line end": "correcthorse\n", "inner line end": "correct\r\nX-Other: horse", "NUL": "correct\x00horse",
		"not ASCII": "korrektes Pferdchen mit ä", "space": " correcthorse", "long": strings.Repeat("a1B2", maxSecret),
		"nothing to replace": "!!!!!!!!",
	} {
		p, err := Placeholder(value, rand.Reader)
		if err == nil {
			t.Errorf("%s: %q", name, p)
		} else if value != "" && strings.Contains(err.Error(), value) {
			t.Errorf("%s: the error holds the value: %v", name, err)
		}
	}
	if p, err := Placeholder("correcthorse", rand.Reader); err != nil {
		t.Errorf("control: %q, %v", p, err)
	}
}

// TestPlaceholderNeedsRandomness: a source that ends gives no placeholder, and one that gives the value itself gives none either.
func TestPlaceholderNeedsRandomness(t *testing.T) {
	if p, err := Placeholder(fakeGitHub, strings.NewReader("abc")); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		t.Errorf("%q, %v", p, err)
	}
	// The byte 25 is a "z" for a letter.
	if p, err := Placeholder(strings.Repeat("z", 20), bytes.NewReader(bytes.Repeat([]byte{25}, 4096))); err == nil {
		t.Errorf("%q is the value", p)
	}
}

func FuzzPlaceholder(f *testing.F) {
	f.Add(fakeAnthropic)
	f.Add(fakeJWT)
	f.Add("eyJ..")
	f.Add("sk-ant-------")
	f.Fuzz(func(t *testing.T, value string) {
		p, err := Placeholder(value, rand.Reader)
		if err != nil {
			return
		}
		if len(p) < len(value) || strings.Contains(p, value) || usable(p) != nil {
			t.Errorf("%q for %q", p, value)
		}
	})
}
