package main

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/agentjail/agentjail/sandbox"
)

// section gives a part of the manual.
func section(t *testing.T, title string) string {
	t.Helper()
	_, text, found := strings.Cut(readFile(t, "agentjail.1.md"), "\n# "+title+"\n")
	if !found {
		t.Fatalf("no section %s", title)
	}
	text, _, _ = strings.Cut(text, "\n# ")
	return text
}

// TestReportDocumented: the manual has each field of the report.
func TestReportDocumented(t *testing.T) {
	text, fields := section(t, "REPORT"), 0
	var walk func(of reflect.Type, prefix string)
	walk = func(of reflect.Type, prefix string) {
		for f := range of.Fields() {
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			in := f.Type
			for in.Kind() == reflect.Pointer || in.Kind() == reflect.Slice {
				in = in.Elem()
			}
			switch {
			case key == "-":
			case in.Kind() == reflect.Struct && in.PkgPath() != "time" && f.Type.Kind() != reflect.Slice:
				walk(in, prefix+key+".")
			case in.Kind() == reflect.Struct && in.PkgPath() != "time":
				if !strings.Contains(text, "\n**"+prefix+key+"**: ") {
					t.Errorf("%s is missing", prefix+key)
				}
				walk(in, "")
			default:
				if fields++; !strings.Contains(text, "**"+prefix+key+"**") {
					t.Errorf("%s is missing", prefix+key)
				}
			}
		}
	}
	walk(reflect.TypeFor[sandbox.Report](), "")
	if fields < 25 {
		t.Errorf("%d fields: the walk is broken", fields)
	}
}

// TestLogDocumented: the manual has each event and each reason that stand in the sources.
func TestLogDocumented(t *testing.T) {
	text, events := section(t, "LOG"), map[string]bool{}
	reasons := regexp.MustCompile(`Reason = "(\w+)"`).FindAllStringSubmatch(readFile(t, "../../netns/egress/event.go"), -1)
	for _, pattern := range []string{"../../netns/egress/*.go", "../../sandbox/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			source, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, found := range regexp.MustCompile(`(?:Event: |Kind: |emit\(|event\()"([a-z]+(?:\.[a-z]+)?)"|"((?:net|dns|http|secret)\.(?:open|close|deny|request|use|foreign))"`).FindAllStringSubmatch(string(source), -1) {
				events[found[1]+found[2]] = true
			}
		}
	}
	if len(events) < 12 || len(reasons) < 28 {
		t.Errorf("%d events, %d reasons: the search is broken", len(events), len(reasons))
	}
	for _, r := range reasons {
		if !strings.Contains(text, "**"+r[1]+"**") {
			t.Errorf("reason %s is missing", r[1])
		}
	}
	for e := range events {
		if !strings.Contains(text, "**"+e+"**") {
			t.Errorf("event %s is missing", e)
		}
	}
}
