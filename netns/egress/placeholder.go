package egress

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
)

const (
	minSecret = 8       // bytes; anything shorter cannot be told apart from other text on its way back
	maxSecret = 8 << 10 // bytes; more does not fit into a header field that servers take
	minRandom = 64      // bits of a placeholder that nobody can guess
)

// prefixes gives the beginnings of credentials that clients look at before they use one: a placeholder keeps them. Longer ones stand before the ones
// that they begin with. They also tell a credential in a place where none is expected.
func prefixes() []string {
	return []string{
		"sk-ant-", "sk-proj-", "sk-svcacct-", "sk-admin-", "sk-or-v1-", "sk-", "sk_live_", "sk_test_", "rk_live_", "rk_test_",
		"github_pat_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat-", "gldt-", "glcbt-",
		"xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xapp-", "AKIA", "ASIA", "AIza", "ya29.", "hf_", "npm_", "pypi-", "dop_v1_",
		"gsk_", "xai-", "pplx-", "figd_", "lin_api_", "shpat_", "SG.", "r8_",
	}
}

const (
	lowers = "abcdefghijklmnopqrstuvwxyz"
	uppers = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// Placeholder gives what the jail sees of a secret: a string of the same shape, so that clients which look at a key before they
// use it take it for one. A known prefix ("sk-ant-api03-", "ghp_", "AKIA") stays, as do the length and everything that is neither
// letter nor digit; a digit becomes a random digit, a letter a random one of its case, and where all are hexadecimal (a UUID) a
// hexadecimal one. Of a JWT (RFC 7519) the header stays, and those claims that clients read: see disguiseClaims.
//
// The result differs from the value in this and holds at least 64 random bits. A value too short for that has a placeholder that
// is longer than itself. One shorter than 8 bytes is an error, for it could not be found in a response without finding it in other
// text as well, and so is one with bytes that a header field cannot carry. random is crypto/rand.Reader outside of tests. No error
// says anything of the value.
func Placeholder(value string, random io.Reader) (string, error) {
	if err := usable(value); err != nil {
		return "", err
	}
	for range 16 {
		p, err := disguise(value, random)
		if err != nil {
			return "", fmt.Errorf("read random bytes: %w", err)
		}
		if !strings.Contains(p, value) {
			return p, nil
		}
	}
	return "", errors.New("secret has no placeholder that differs from it")
}

// usable judges a secret's value without repeating any of it.
func usable(value string) error {
	switch {
	case len(value) < minSecret:
		return fmt.Errorf("secret is shorter than %d bytes", minSecret)
	case len(value) > maxSecret:
		return fmt.Errorf("secret is longer than %d bytes", maxSecret)
	case strings.TrimSpace(value) != value:
		return errors.New("secret begins or ends with white space")
	}
	for i := range len(value) {
		if value[i] < ' ' || value[i] > '~' {
			return errors.New("secret holds a byte that is no printable ASCII character")
		}
	}
	return nil
}

func disguise(value string, random io.Reader) (string, error) {
	keep, last := kept(value)
	begin := value[:keep]
	if head, _, ok := cutJWT(value); ok {
		header, claims, _ := strings.Cut(strings.TrimSuffix(head, "."), ".")
		again, err := disguiseClaims(claims, random)
		if err != nil {
			return "", err
		}
		begin = header + "." + again + "."
	}
	var b strings.Builder
	b.WriteString(begin)
	bits := 0.0
	alphabet := alphabetOf(value[keep:])
	for i := keep; i < len(value); i++ {
		set := alphabet(value[i])
		if set == "" || i == last || uuidFixed(value, i) {
			b.WriteByte(value[i])
			continue
		}
		c, err := pick(set, random)
		if err != nil {
			return "", err
		}
		b.WriteByte(c)
		bits += math.Log2(float64(len(set)))
	}
	for bits < minRandom {
		c, err := pick(lowers+digits, random)
		if err != nil {
			return "", err
		}
		b.WriteByte(c)
		bits += math.Log2(float64(len(lowers + digits)))
	}
	return b.String(), nil
}

// kept gives how much of the value a placeholder begins with, and the index of a byte at the end that stays, too, or -1.
func kept(value string) (n, last int) {
	if head, signature, ok := cutJWT(value); ok {
		last = -1
		if len(signature)%4 != 0 {
			last = len(value) - 1 // it holds bits that a strict base64 decoder wants to be zero
		}
		return len(head), last
	}
	prefix := knownPrefix(value)
	if prefix == "sk-ant-" {
		// "api03-", "oat01-", "admin01-": the kind and its version
		if kind, _, found := strings.Cut(value[len(prefix):], "-"); found && len(kind) <= 8 {
			return len(prefix) + len(kind) + 1, -1
		}
	}
	return len(prefix), -1
}

func knownPrefix(value string) string {
	for _, p := range prefixes() {
		if strings.HasPrefix(value, p) {
			return p
		}
	}
	return ""
}

// cutJWT splits a JWT in compact form (RFC 7515 section 7.1) behind its second dot. "eyJ" is how the base64 of a JSON object begins.
func cutJWT(value string) (head, signature string, ok bool) {
	i := strings.LastIndexByte(value, '.')
	if !strings.HasPrefix(value, "eyJ") || strings.Count(value, ".") != 2 || strings.Trim(value, lowers+uppers+digits+"-_.") != "" {
		return "", "", false
	}
	return value[:i+1], value[i+1:], true
}

// alphabetOf gives the set that replaces a byte of s; "" where it stays.
func alphabetOf(s string) func(c byte) string {
	letters := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return -1
	}, s)
	// Of a few bytes nobody can say that they are hexadecimal because they have to be.
	hex := ""
	switch {
	case len(s) < 16 || letters == "":
	case strings.Trim(letters, lowers[:6]) == "":
		hex = digits + lowers[:6]
	case strings.Trim(letters, uppers[:6]) == "":
		hex = digits + uppers[:6]
	}
	return func(c byte) string {
		switch {
		case '0' <= c && c <= '9' && hex == "":
			return digits
		case 'a' <= c && c <= 'z' && hex == "":
			return lowers
		case 'A' <= c && c <= 'Z' && hex == "":
			return uppers
		case strings.IndexByte(digits+lowers+uppers, c) >= 0:
			return hex
		}
		return ""
	}
}

// uuidFixed says whether byte i is the version or the variant of a UUID (RFC 9562 section 4).
func uuidFixed(s string, i int) bool {
	if len(s) != 36 || i != 14 && i != 19 {
		return false
	}
	return s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' && strings.Count(s, "-") == 4
}

// pick gives one byte of the set, each as likely as the others.
func pick(set string, random io.Reader) (byte, error) {
	var b [1]byte
	for {
		if _, err := io.ReadFull(random, b[:]); err != nil {
			return 0, err
		}
		if n := int(b[0]); n < 256-256%len(set) {
			return set[n%len(set)], nil
		}
	}
}
