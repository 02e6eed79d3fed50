package egress

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// unit is one byte of a decoded stream.
type unit struct {
	c    byte
	size int  // bytes of the stream as it came that stand for it
	mute bool // they stand for nothing: zero bytes, so that UTF-16 reads as ASCII
}

// maxEscape is the length of the longest escape that is read: "&#x0000041;".
const maxEscape = 11

// unescaper takes escapes out of a stream: those of URLs (RFC 3986 section 2.1), of strings in JSON (RFC 8259 section 7) and C, and of HTML,
// all at once, for what is looked for is the same in each. What is no escape stays as it is.
type unescaper struct {
	held  [maxEscape]byte // what may be one
	sizes [maxEscape]int  // of the units that it came in
	n     int
	mute  int // units behind the last of them
}

// introduces says whether an escape, or something else that is not taken as it is, begins with c.
func introduces(c byte) bool { return c == '%' || c == '\\' || c == '&' || c == 0 }

// put gives dst with what the next unit completes behind it.
func (u *unescaper) put(dst []unit, in unit) []unit {
	if in.c == 0 {
		in.mute = true
	}
	switch {
	case in.mute && u.n > 0 && u.mute < maxMute:
		u.sizes[u.n-1] += in.size // UTF-16 may be escaped, too
		u.mute++
		return dst
	case in.mute && u.n > 0:
		return append(u.flush(dst), in)
	case in.mute, u.n == 0 && !introduces(in.c):
		return append(dst, in)
	}
	u.held[u.n], u.sizes[u.n] = in.c, in.size
	u.n, u.mute = u.n+1, 0
	switch c, state := readEscape(u.held[:u.n]); {
	case state == whole:
		return u.take(dst, c)
	case state == wholeBefore:
		u.n--
		return u.put(u.take(dst, c), in)
	case state == begun && u.n < maxEscape:
		return dst
	}
	return u.give(dst)
}

// take gives what is held as the byte that it stands for.
func (u *unescaper) take(dst []unit, c byte) []unit {
	size := 0
	for _, n := range u.sizes[:u.n] {
		size += n
	}
	u.n = 0
	return append(dst, unit{c: c, size: size})
}

// give gives the first unit that is held as it is, and reads the others anew.
func (u *unescaper) give(dst []unit) []unit {
	held, sizes, n := u.held, u.sizes, u.n
	u.n = 0
	dst = append(dst, unit{c: held[0], size: sizes[0]})
	for i := 1; i < n; i++ {
		dst = u.put(dst, unit{c: held[i], size: sizes[i]})
	}
	return dst
}

// flush gives what is held: nothing comes behind it.
func (u *unescaper) flush(dst []unit) []unit {
	for u.n > 0 {
		if c, digits := octal(u.held[1:u.n]); u.held[0] == '\\' && digits > 0 && digits == u.n-1 {
			return u.take(dst, c)
		}
		dst = u.give(dst)
	}
	return dst
}

// escape is how much of an escape something is.
type escape int

const (
	noEscape escape = iota
	begun
	whole
	wholeBefore // without its last byte, which shows that it has ended
)

// readEscape reads the escape that h is or begins.
func readEscape(h []byte) (c byte, state escape) {
	switch h[0] {
	case '%':
		return digitsOf(h[1:], 2)
	case '\\':
		return readBackslash(h[1:])
	case '&':
		return readEntity(h[1:])
	}
	return 0, noEscape
}

func readBackslash(h []byte) (c byte, state escape) {
	if len(h) == 0 {
		return 0, begun
	}
	if c, digits := octal(h); digits > 0 {
		switch {
		case digits < len(h):
			return c, wholeBefore
		case digits == 3:
			return c, whole
		}
		return 0, begun
	}
	switch h[0] {
	case 'u':
		return digitsOf(h[1:], 4)
	case 'x':
		return digitsOf(h[1:], 2)
	case 'n':
		return '\n', whole
	case 'r':
		return '\r', whole
	case '"', '\'', '\\', '/':
		return h[0], whole
	}
	return 0, noEscape
}

// octal reads the digits that h begins with: up to three, as many as stand for a byte.
func octal(h []byte) (c byte, digits int) {
	value := 0
	for _, d := range h[:min(3, len(h))] {
		if d < '0' || d > '7' || value<<3 > 0xff {
			break
		}
		value = value<<3 | int(d-'0')
		digits++
	}
	return byte(value), digits
}

// digitsOf reads n hexadecimal digits.
func digitsOf(h []byte, n int) (c byte, state escape) {
	value := 0
	for _, d := range h {
		if nibble(d) < 0 {
			return 0, noEscape
		}
		value = value<<4 | nibble(d)
	}
	switch {
	case len(h) < n:
		return 0, begun
	case value > 0xff:
		return 0, noEscape
	}
	return byte(value), whole
}

// readEntity reads what stands behind "&".
func readEntity(h []byte) (c byte, state escape) {
	if len(h) > 0 && h[0] == '#' {
		return readReference(h[1:])
	}
	names, chars := [...]string{"amp;", "lt;", "gt;", "quot;", "apos;"}, `&<>"'`
	for i, name := range names {
		switch {
		case string(h) == name:
			return chars[i], whole
		case strings.HasPrefix(name, string(h)):
			state = begun
		}
	}
	return 0, state
}

// readReference reads what stands behind "&#".
func readReference(h []byte) (c byte, state escape) {
	base, value := 10, 0
	if len(h) > 0 && (h[0] == 'x' || h[0] == 'X') {
		h, base = h[1:], 16
	}
	for i, d := range h {
		if d == ';' && i > 0 {
			return byte(value), whole
		}
		if nibble(d) < 0 || nibble(d) >= base {
			return 0, noEscape
		}
		if value = value*base + nibble(d); value > 0xff {
			return 0, noEscape
		}
	}
	return 0, begun
}

// nibble gives the value of a hexadecimal digit, or -1.
func nibble(c byte) int {
	if 'A' <= c && c <= 'F' {
		c += 'a' - 'A'
	}
	return strings.IndexByte("0123456789abcdef", c)
}

// rewritten gives raw, which stands for a needle when it is decoded so many times, such that it stands for by: each byte that differs is
// escaped as the one in its place was. It has the length of raw when by has the needle's, and they differ in letters and digits alone.
func rewritten(raw []byte, levels int, by string) []byte {
	if levels == 0 {
		return relined(raw, by)
	}
	var code unescaper
	var units []unit
	for _, c := range raw {
		units = code.put(units, unit{c: c, size: 1})
	}
	units = code.flush(units)
	var text []byte
	for _, u := range units {
		if !u.mute {
			text = append(text, u.c)
		}
	}
	again := rewritten(text, levels-1, by)
	var out []byte
	wide := false
	for i, at := 0, 0; len(units) > 0; units = units[1:] {
		u := units[0]
		piece := raw[at : at+u.size]
		at += u.size
		switch {
		case i == len(again): // it is shorter
			return out
		case u.mute:
			out, wide = append(out, piece...), true
			continue
		case again[i] == u.c:
			out = append(out, piece...)
		default:
			out = append(out, likewise(piece, again[i])...)
		}
		i++
	}
	for _, c := range again[min(len(text), len(again)):] { // it is longer
		if wide {
			out = append(out, 0)
		}
		out = append(out, c)
	}
	return out
}

// relined gives by with the line ends of raw where those stand.
func relined(raw []byte, by string) (out []byte) {
	for _, c := range raw {
		switch {
		case by == "":
			return out
		case c == '\r' || c == '\n':
			out = append(out, c)
		default:
			out, by = append(out, by[0]), by[1:]
		}
	}
	return append(out, by...)
}

// likewise escapes c as a letter or digit is in piece, in as many bytes, zero bytes in between and all. Decimal references of two digits
// have no room for most small letters: those become one of the first three. Octal ones of two have room for digits alone.
func likewise(piece []byte, c byte) []byte {
	plain := bytes.ReplaceAll(piece, []byte{0}, nil)
	end := len(plain)
	format := "%02x"
	if bytes.ContainsAny(plain, "ABCDEF") {
		format = "%02X"
	}
	switch {
	case end <= 2: // itself, or behind a backslash
		return []byte{c}
	case plain[0] == '\\' && '0' <= plain[1] && plain[1] <= '7':
		if end == len(`\00`) && c > 077 {
			c = '0' + c%8
		}
		copy(plain[1:], fmt.Appendf(nil, "%0*o", end-1, c))
	case plain[end-1] != ';':
		copy(plain[end-2:], fmt.Appendf(nil, format, c))
	case plain[2] == 'x' || plain[2] == 'X':
		copy(plain[end-3:], fmt.Appendf(nil, format, c))
	case plain[1] == '#':
		if end == len("&#00;") && c > 99 {
			c = 'a' + c%3
		}
		copy(plain[2:], fmt.Appendf(nil, "%0*d", end-3, c))
	default: // by name
		return []byte{c}
	}
	out := slices.Clone(piece)
	for i, b := range out {
		if b != 0 {
			out[i], plain = plain[0], plain[1:]
		}
	}
	return out
}
