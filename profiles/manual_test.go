package profiles

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestManual: agentjail(1) has every key of the schema with the type of its value, and no other key.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("../cmd/agentjail/agentjail.1.md")
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(string(text), "\n# PROFILES\n")
	page, _, _ = strings.Cut(page, "\n# ")
	found := map[string]string{}
	for _, head := range regexp.MustCompile(`(?m)^((?:\*\*[\w.]+\*\*(?:, )?)+) \*([a-z ]+)\*(?:, .*)?\n: `).FindAllStringSubmatch(page, -1) {
		for _, key := range strings.Split(head[1], ", ") {
			found[strings.Trim(key, "*")] = head[2]
		}
	}
	words := map[string]string{"string": "string", "strings": "list of strings", "int64s": "list of integers", "int64": "integer", "float64": "number", "bool": "boolean"}
	var known []string
	for key, kind := range kinds() {
		want := words[kind]
		switch {
		case strings.HasSuffix(key, ".*"):
			key, want = strings.TrimSuffix(key, ".*"), "table of strings"
		case kind == "tables":
			if !strings.Contains(page, "\n**[["+key+"]]**\n") {
				t.Errorf("[[%s]] is missing", key)
			}
			continue
		case kind == "table":
			continue
		}
		known = append(known, key)
		if found[key] != want {
			t.Errorf("%s is %q in the manual, want %q", key, found[key], want)
		}
	}
	if len(known) < 40 {
		t.Errorf("%d keys: the walk is broken", len(known))
	}
	for key := range found {
		if !slices.Contains(known, key) {
			t.Errorf("%s is no key", key)
		}
	}
}

// TestReadme: what README shows as TOML is a profile.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```toml\n(.*?)^```").FindAllStringSubmatch(string(text), -1)
	if len(blocks) < 4 {
		t.Fatalf("%d blocks of TOML: the search is broken", len(blocks))
	}
	for _, b := range blocks {
		if _, err := Parse("README", []byte(b[1])); err != nil {
			t.Errorf("%v\n%s", err, b[1])
		}
	}
}
