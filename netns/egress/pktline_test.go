package egress

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

const (
	idZero = "0000000000000000000000000000000000000000"
	idA    = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	idB    = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// push256 gives a command with ids of SHA-256.
func push256(ref string) string {
	return pktLine(strings.Repeat("0", 64)+" "+strings.Repeat("ab", 32)+" "+ref+"\x00object-format=sha256") + "0000"
}

func TestReadPush(t *testing.T) {
	create := idZero + " " + idA + " refs/heads/x"
	for _, tc := range []struct {
		name, in string
		commands []command
		options  []string
	}{
		{"one", pktLine(create+"\x00 report-status agent=git/2.39") + "0000", []command{{idZero, idA, "refs/heads/x"}}, nil},
		{"line end", pktLine(create+"\n") + "0000", []command{{idZero, idA, "refs/heads/x"}}, nil},
		{"no capabilities", pktLine(create) + "0000", []command{{idZero, idA, "refs/heads/x"}}, nil},
		{"unknown capabilities", pktLine(create+"\x00what-is-this=1 \n") + "0000", []command{{idZero, idA, "refs/heads/x"}}, nil},
		{"two", pktLine(create+"\x00") + pktLine(idA+" "+idB+" refs/heads/y") + "0000", []command{{idZero, idA, "refs/heads/x"}, {idA, idB, "refs/heads/y"}}, nil},
		{"shallow", pktLine("shallow "+idB+"\n") + pktLine("shallow "+idA) + pktLine(create+"\x00atomic") + "0000", []command{{idZero, idA, "refs/heads/x"}}, nil},
		{"options", pktLine(create+"\x00push-options") + "0000" + pktLine("ci.skip\n") + pktLine("a=b") + "0000", []command{{idZero, idA, "refs/heads/x"}}, []string{"ci.skip", "a=b"}},
		{"no options", pktLine(create+"\x00push-options") + "00000000", []command{{idZero, idA, "refs/heads/x"}}, nil},
		{"SHA-256", push256("refs/heads/x"), []command{{strings.Repeat("0", 64), strings.Repeat("ab", 32), "refs/heads/x"}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := iotest.OneByteReader(strings.NewReader(tc.in + "PACK…"))
			p, err := readPush(in)
			if err != nil || !slices.Equal(p.commands, tc.commands) || !slices.Equal(p.options, tc.options) {
				t.Errorf("%+v, %v", p, err)
			}
			if rest, _ := io.ReadAll(in); string(rest) != "PACK…" {
				t.Errorf("what is left: %q", rest)
			}
		})
	}
	if p, err := readPush(strings.NewReader("0000")); err != nil || len(p.commands) > 0 {
		t.Errorf("probe: %+v, %v", p, err)
	}
}

func TestReadPushRefuses(t *testing.T) {
	create := idZero + " " + idA + " refs/heads/x"
	for name, in := range map[string]string{
		"empty":                  "",
		"half a length":          "00",
		"half a line":            "0020abc",
		"no flush":               pktLine(create),
		"length in letters":      "zzzz",
		"length with a sign":     "+020" + strings.Repeat("a", 28),
		"length 3":               "0003",
		"length too large":       "fff1" + strings.Repeat("a", 0xfff1-4),
		"delimiter":              pktLine(create+"\x00") + "0001" + "0000",
		"end of answer":          "0002",
		"pack without commands":  "0000PACK",
		"empty line":             "0004" + "0000",
		"capital id":             pktLine(strings.ToUpper(idA)+" "+idB+" refs/heads/x") + "0000",
		"short id":               pktLine(idA[1:]+" "+idB+" refs/heads/x") + "0000",
		"ids of two kinds":       pktLine(idA+" "+idB+strings.Repeat("b", 24)+" refs/heads/x") + "0000",
		"two spaces":             pktLine(idA+"  "+idB+" refs/heads/x") + "0000",
		"tab":                    pktLine(idA+"\t"+idB+" refs/heads/x") + "0000",
		"no ref":                 pktLine(idA+" "+idB) + "0000",
		"HEAD":                   pktLine(idA+" "+idB+" HEAD") + "0000",
		"dots":                   pktLine(idA+" "+idB+" refs/heads/agent/../main") + "0000",
		"slashes":                pktLine(idA+" "+idB+" refs/heads//main") + "0000",
		"line end inside":        pktLine(idA+" "+idB+" refs/heads/a\nb") + "0000",
		"NUL later":              pktLine(create+"\x00") + pktLine(idA+" "+idB+" refs/heads/agent\x00x") + "0000",
		"certificate":            pktLine("push-cert\x00report-status\n") + "0000",
		"certificate later":      pktLine(create+"\x00") + pktLine("push-cert") + "0000",
		"shallow with an odd id": pktLine("shallow x") + "0000",
		"shallow later":          pktLine(create+"\x00") + pktLine("shallow "+idA) + "0000",
		"too many":               strings.Repeat(pktLine(create), 12000) + "0000",
		"too many options":       pktLine(create+"\x00push-options") + "0000" + strings.Repeat(pktLine("x"), 300000) + "0000",
		"options cut":            pktLine(create+"\x00push-options") + "0000" + pktLine("x"),
	} {
		if p, err := readPush(strings.NewReader(in)); err == nil {
			t.Errorf("%s: %+v", name, p)
		} else if errors.Is(err, errPushSize) != strings.HasPrefix(name, "too many") || errors.Is(err, errPushCert) != strings.HasPrefix(name, "cert") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMatchRef(t *testing.T) {
	for _, tc := range []struct {
		glob, ref string
		want      bool
	}{
		{"agent/*", "refs/heads/agent/a", true}, {"agent/*", "refs/heads/agent/a/b", true}, {"agent/*", "refs/heads/agent", false},
		{"agent/*", "refs/heads/agentx/a", false}, {"agent/*", "refs/tags/agent/a", false}, {"agent/*", "refs/heads/refs/heads/agent/a", false},
		{"refs/tags/v*", "refs/tags/v1", true}, {"refs/tags/v*", "refs/tags/w1", false}, {"main", "refs/heads/main", true},
		{"main", "refs/heads/main2", false}, {"*", "refs/heads/x", true}, {"*", "refs/tags/x", false}, {"*-agent", "refs/heads/a-agent", true},
		{"a*b*c", "refs/heads/abc", true}, {"a*b*c", "refs/heads/aXbYc", true}, {"a*b*c", "refs/heads/acb", false}, {"a*a", "refs/heads/a", false},
		{"a*b*b", "refs/heads/ab", false},
	} {
		if got := matchRef(tc.glob, tc.ref); got != tc.want {
			t.Errorf("%s on %s: %v", tc.glob, tc.ref, got)
		}
	}
}

// TestReport: the report about many refs is cut into pkt-lines that git takes.
func TestReport(t *testing.T) {
	p := &pushRequest{capabilities: []string{"report-status-v2", "side-band"}}
	var why []string
	for i := range 2000 {
		p.commands = append(p.commands, command{idZero, idA, fmt.Sprint("refs/heads/", i)})
		why = append(why, "no")
	}
	for _, c := range []string{"side-band", "side-band-64k"} {
		p.capabilities[1] = c
		var inner strings.Builder
		for _, text := range pktLines(t, strings.NewReader(report(p, why, "message"))) {
			if limit := map[string]int{"side-band": 996, "side-band-64k": 65516}[c]; len(text) > limit {
				t.Errorf("%s: %d bytes", c, len(text))
			}
			if text[0] == 1 {
				inner.WriteString(text[1:])
			}
		}
		if lines := pktLines(t, strings.NewReader(inner.String())); len(lines) != 2001 {
			t.Errorf("%s: %d lines", c, len(lines))
		}
	}
	p.capabilities = nil
	if out := report(p, why, "message"); out != "" {
		t.Errorf("to a client that wants no report: %q", out)
	}
}

// pktLines reads lines up to a flush, behind which nothing comes.
func pktLines(t *testing.T, r io.Reader) (lines []string) {
	t.Helper()
	for {
		line, special, err := readPktLine(r)
		switch {
		case err != nil:
			t.Fatal(err)
		case special == flush:
			if n, _ := io.Copy(io.Discard, r); n > 0 {
				t.Errorf("%d bytes behind the flush", n)
			}
			return lines
		}
		lines = append(lines, line)
	}
}

// FuzzReadPush: what is taken says again what was read, to the byte, and no name in it has two readings.
func FuzzReadPush(f *testing.F) {
	f.Add([]byte("0000"))
	f.Add([]byte(pktLine(idZero+" "+idA+" refs/heads/x\x00 report-status push-options agent=x") + "0000" + pktLine("o") + "0000PACK"))
	f.Add([]byte(pktLine("shallow "+idB) + pktLine(idA+" "+idB+" refs/heads/x\x00 side-band-64k") + pktLine(idA+" "+idZero+" refs/tags/y\n") + "0000PACK"))
	f.Add([]byte(push256("refs/heads/x")))
	f.Add([]byte(pktLine("push-cert\x00x")))
	f.Fuzz(func(t *testing.T, in []byte) {
		r := bytes.NewReader(in)
		p, err := readPush(r)
		if err != nil {
			return
		}
		taken := in[:len(in)-r.Len()]
		if len(taken) > maxPush || !bytes.HasSuffix(taken, []byte("0000")) {
			t.Errorf("%d bytes taken, ending in %q", len(taken), taken[max(0, len(taken)-8):])
		}
		last := 0
		for _, c := range p.commands {
			line := c.old + " " + c.new + " " + c.ref
			i := bytes.Index(taken[last:], []byte(line))
			if i < 0 || !validRef(c.ref) || strings.ContainsAny(c.ref, "\x00\n ") || !strings.HasPrefix(c.ref, "refs/") {
				t.Fatalf("%+v of %q", c, taken)
			}
			last += i + len(line)
		}
		if len(p.commands) == 0 && r.Len() > 0 {
			t.Errorf("bytes behind a probe: %q", in)
		}
	})
}
