package sandbox

import (
	"slices"
	"strings"
	"testing"

	"github.com/agentjail/agentjail/profiles"
)

// slowMatchParts is matchParts as gitignore(5) says it: "**" stands for any directories, none among them, and everything else for one
// name each.
func slowMatchParts(pattern, name []string) bool {
	if len(pattern) == 0 {
		return len(name) == 0
	}
	if pattern[0] != "**" {
		return len(name) > 0 && matches(pattern[0], name[0]) && slowMatchParts(pattern[1:], name[1:])
	}
	for i := range len(name) + 1 {
		if slowMatchParts(pattern[1:], name[i:]) {
			return true
		}
	}
	return false
}

// FuzzHidden holds the patterns of what is hidden against the slow reference, wherever that ends, and holds that what a pattern of one
// name hides, it hides at any depth.
func FuzzHidden(f *testing.F) {
	for _, s := range [][2]string{
		{".env", "a/b/.env"}, {"*.pem", "keys/x.pem"}, {"a/**/c", "a/c"}, {"**/a/**/a/**", "a/b/a"}, {"[a-c]?/", "bx"}, {"/a/*/c", "a/b/c"},
		{"a**b", "axxb"}, {"**", "a"}, {"\\*", "*"}, {"[^a]", "b"}, {"a//b/./c", "a/b/c"},
	} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		h, err := parseHidden(profiles.Item{Value: pattern, Why: "fuzz"})
		parts := split(name)
		if err != nil || slices.Contains(parts, "..") || len(parts) == 0 {
			return
		}
		got := matchParts(h.parts, parts)
		if strings.Count(pattern, "**") <= 3 && len(parts) <= 16 { // else it takes too long
			if want := slowMatchParts(h.parts, parts); got != want {
				t.Errorf("%q against %q: %v, want %v", h.parts, parts, got, want)
			}
		}
		if below := slices.Concat([]string{"d", "e"}, parts); got && !h.anchored && !matchParts(h.parts, below) {
			t.Errorf("%q matches %q and not below", pattern, name)
		}
	})
}

// TestHiddenPatternsAreCheap: a project's own file may hold any pattern without being trusted. The reference would need longer for this
// one than a machine lasts.
func TestHiddenPatternsAreCheap(t *testing.T) {
	h, err := parseHidden(profiles.Item{Value: strings.Repeat("**/a/", 60) + "b", Why: "test"})
	if err != nil {
		t.Fatal(err)
	}
	name := slices.Repeat([]string{"a"}, 200)
	if matchParts(h.parts, append(name, "c")) {
		t.Error("matches")
	}
	if !matchParts(h.parts, append(name, "b")) {
		t.Error("control")
	}
}
