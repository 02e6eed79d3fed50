package egress

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"strings"
)

// needles finds a set of strings in a stream, byte by byte, whatever pieces it comes in: the automaton of Aho and Corasick
// ("Efficient string matching", CACM 18(6), 1975), with its failure links followed as it goes. A state is an int32, 0 at the start. It does
// not change and is safe for concurrent use.
type needles struct {
	root    [256]int32 // from state 0, which most bytes are met in
	special [256]bool  // whether a byte leads out of it, or begins an escape
	nodes   []needle
	lengths []int // of the needles
}

// needle is one state: a prefix of one or more needles.
type needle struct {
	c              byte
	child, sibling int32 // 0: none
	fail           int32 // the longest proper suffix that is a state
	depth          int32
	hit            int32 // the longest needle that ends here, counted from 1; 0: none
	code           bool  // it begins a needle that may be broken into lines
}

// newNeedles makes the automaton. Needles are told apart by their index; of equal ones the first counts, empty ones do not.
func newNeedles(list []string) *needles {
	n := &needles{nodes: make([]needle, 1)}
	for i, s := range list {
		n.lengths = append(n.lengths, len(s))
		at := int32(0)
		for j := range len(s) {
			at = n.grow(at, s[j])
		}
		if at != 0 && n.nodes[at].hit == 0 {
			n.nodes[at].hit = int32(i + 1)
		}
	}
	// Breadth first: the failure link of a state leads to a shorter one.
	var queue []int32
	for c, first := range n.root {
		n.special[c] = first != 0 || c != 0 && introduces(byte(c)) // zero bytes are nothing behind nothing
		if first != 0 {
			queue = append(queue, first)
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if n.nodes[at].hit == 0 {
			n.nodes[at].hit = n.nodes[n.nodes[at].fail].hit
		}
		for child := n.nodes[at].child; child != 0; child = n.nodes[child].sibling {
			n.nodes[child].fail = n.step(n.nodes[at].fail, n.nodes[child].c)
			queue = append(queue, child)
		}
	}
	return n
}

// breakable says that line ends may stand inside of these needles, as base64 and hexadecimal are broken into lines.
func (n *needles) breakable(list []string) {
	for _, s := range list {
		at := int32(0)
		for j := range len(s) {
			at = n.find(at, s[j])
			n.nodes[at].code = true
		}
	}
}

// broken gives the state in front of a line end: the longest suffix of at that may be broken there, or 0.
func (n *needles) broken(at int32) int32 {
	for at != 0 && !n.nodes[at].code {
		at = n.nodes[at].fail
	}
	return at
}

// grow gives the child of a state, and makes it when there is none.
func (n *needles) grow(at int32, c byte) int32 {
	next := n.find(at, c)
	if next != 0 {
		return next
	}
	next = int32(len(n.nodes))
	n.nodes = append(n.nodes, needle{c: c, depth: n.nodes[at].depth + 1})
	if at == 0 {
		n.root[c] = next
	} else {
		n.nodes[next].sibling, n.nodes[at].child = n.nodes[at].child, next
	}
	return next
}

func (n *needles) find(at int32, c byte) int32 {
	if at == 0 {
		return n.root[c]
	}
	child := n.nodes[at].child
	for child != 0 && n.nodes[child].c != c {
		child = n.nodes[child].sibling
	}
	return child
}

// step gives the state behind c.
func (n *needles) step(at int32, c byte) int32 {
	for at != 0 {
		if next := n.find(at, c); next != 0 {
			return next
		}
		at = n.nodes[at].fail
	}
	return n.root[c]
}

// firstCode is the index of the first spelling that programs break into lines.
const firstCode = 4

// spellings gives s as it stands in other texts: itself; percent-encoded as a query and as a path have it, and as JSON has it where
// slashes are escaped, for where one of these is in s its escapes cannot be told from those around it; in hexadecimal of both cases; in
// both alphabets of base64, at each of the three places that it can have in a group, without the characters that its neighbours have a
// part in. The order is always the same, so that the spellings of two strings pair up.
func spellings(s string) []string {
	lower := hex.EncodeToString([]byte(s))
	return append([]string{s, url.QueryEscape(s), url.PathEscape(s), jsonEscape(s), lower, strings.ToUpper(lower)}, groups(s)...)
}

// groups gives the spellings in base64.
func groups(s string) (list []string) {
	for _, code := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			text := code.EncodeToString([]byte(strings.Repeat("\x00", before) + s))
			list = append(list, text[(before*8+5)/6:(before+len(s))*8/6])
		}
	}
	return list
}

// nested gives spellings of spellings: what is encoded once more, as a configuration with a Basic pair in it is, and the base64 of UTF-16
// that some shells take.
func nested(s string) (list []string) {
	wide := strings.Join(strings.Split(s, ""), "\x00")
	for _, inner := range append(append([]string{wide, hex.EncodeToString([]byte(s))}, groups(s)...), jsonEscape(s)) {
		list = append(list, groups(inner)...)
		list = append(list, hex.EncodeToString([]byte(inner)))
	}
	return list
}

func jsonEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `/`, `\/`).Replace(s)
}
