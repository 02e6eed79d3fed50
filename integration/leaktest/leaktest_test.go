package leaktest

import (
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Run(m)) }

// TestFind: a goroutine and a descriptor that stay are told of, and with them gone nothing is.
func TestFind(t *testing.T) {
	before, err := descriptors()
	if err != nil {
		t.Fatal(err)
	}
	find := func(want string) {
		t.Helper()
		switch err := Find(before); {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%v; want %q", err, want)
		}
	}
	find("")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() { <-stop; close(stopped) }()
	find("leaktest.TestFind")
	close(stop)
	<-stopped
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	find("2 descriptors are left open")
	r.Close()
	w.Close()
	find("")
}
