package sandbox

import (
	"slices"
	"testing"
)

// The newest session is the last by name, also of several that began in one second.
func TestSessionsSort(t *testing.T) {
	var names []string
	for range 200 {
		names = append(names, newSession())
	}
	for i := range names {
		names[i] = names[i][:len("20060102-150405000000")] // of one microsecond the order is by chance
	}
	if !slices.IsSorted(names) {
		t.Errorf("not in order: %v", names)
	}
	if names[0] == names[len(names)-1] {
		t.Error("the time in a name does not go on")
	}
}
