package sandbox

import (
	"reflect"
	"testing"
)

// FuzzKnown holds that what a run remembers is what the next one reads, byte for byte, and that no file makes reading it panic.
func FuzzKnown(f *testing.F) {
	f.Add("/p/a\xff", "/p/.env", "/p/s \"\n\ufffd")
	f.Add("", "repository \"x\"", "hidden")
	f.Fuzz(func(t *testing.T, repo, name, target string) {
		parseKnown(repo)
		want := known{[]string{repo, name}, []HiddenLink{{name, target}, {target, repo}}}
		got, err := parseKnown(want.String())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	})
}
