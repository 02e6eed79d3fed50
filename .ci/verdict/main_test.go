package main

import (
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	const pass = `{"Action":"pass","Package":"p","Test":"TestA"}` + "\n"
	for name, c := range map[string]struct {
		events string
		want   counts
		said   string
	}{
		"passed":          {pass, counts{passed: 1}, ""},
		"failed":          {`{"Action":"output","Package":"p","Test":"TestB","Output":"the reason\n"}` + "\n" + `{"Action":"fail","Package":"p","Test":"TestB"}`, counts{failed: 1}, "the reason"},
		"skipped":         {pass + `{"Action":"skip","Package":"p","Test":"TestB"}`, counts{passed: 1, skipped: 1}, "skipped: p TestB"},
		"does not build":  {`{"Action":"build-output","ImportPath":"p","Output":"p.go:1: no\n"}` + "\n" + `{"Action":"build-fail","ImportPath":"p"}`, counts{failed: 1}, "p.go:1: no"},
		"a whole package": {pass + `{"Action":"fail","Package":"p"}`, counts{passed: 1, failed: 1}, ""},
		"died":            {pass + `{"Action":"output","Package":"p","Test":"TestB","Output":"panic: x\n"}`, counts{passed: 1, failed: 1}, "TestB had no verdict"},
	} {
		var out strings.Builder
		got, err := read(strings.NewReader(c.events), &out)
		if err != nil || got != c.want || !strings.Contains(out.String(), c.said) {
			t.Errorf("%s: %+v, %v, want %+v; said %q", name, got, err, c.want, out.String())
		}
	}
}

// TestVerdict: nothing tested is no success, and a skip is none where CI is set.
func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		n    counts
		ci   bool
		good bool
	}{
		{counts{passed: 1}, true, true},
		{counts{}, false, false},
		{counts{passed: 1, failed: 1}, false, false},
		{counts{passed: 1, skipped: 1}, false, true},
		{counts{passed: 1, skipped: 1}, true, false},
	} {
		if got := c.n.good(c.ci); got != c.good {
			t.Errorf("%+v, CI %v: %v", c.n, c.ci, got)
		}
	}
}
