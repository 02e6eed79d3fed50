package main

import (
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/agentjail/agentjail/sandbox/selftest"
)

// TestSelftestDocumented: the manual has each field of selftest's answer and no other, and each result.
func TestSelftestDocumented(t *testing.T) {
	text := section(t, "SELFTEST")
	documented, fields := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "**") {
			for _, found := range regexp.MustCompile(`\*\*(\w+)\*\*`).FindAllStringSubmatch(line, -1) {
				documented[found[1]] = true
			}
		}
	}
	for _, of := range []reflect.Type{reflect.TypeFor[selftest.Report](), reflect.TypeFor[selftest.Attempt]()} {
		for f := range of.Fields() {
			if key, _, _ := strings.Cut(f.Tag.Get("json"), ","); key != "-" {
				fields[key] = true
			}
		}
	}
	if !maps.Equal(documented, fields) {
		t.Errorf("documented are %q, there are %q", slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(fields)))
	}
	for _, result := range []string{selftest.Stopped, selftest.Escaped, selftest.Inconclusive, selftest.Absent} {
		if !strings.Contains(text, "*"+result+"*: ") {
			t.Errorf("result %s is missing", result)
		}
	}
}
