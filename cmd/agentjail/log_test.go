package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentjail/agentjail/sandbox"
)

// growing is a record that somebody writes, and the same to be read.
func growing(t *testing.T) (writer, reader *os.File) {
	t.Helper()
	name := filepath.Join(t.TempDir(), auditFile)
	writer, err1 := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	reader, err2 := os.Open(name)
	t.Cleanup(func() {
		writer.Close()
		reader.Close()
	})
	if err := errors.Join(err1, err2, syscall.Flock(int(writer.Fd()), syscall.LOCK_EX)); err != nil {
		t.Fatal(err)
	}
	return writer, reader
}

// followed prints a record as it grows, and gives its lines and how it ended.
func followed(t *testing.T, reader *os.File, stderr io.Writer) (lines *bufio.Scanner, done <-chan error) {
	t.Helper()
	shown, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	a := &app{Stdio: sandbox.Stdio{Out: out}, ui: ui{w: stderr}}
	a.flags.out.follow = true
	ended := make(chan error, 1)
	go func() {
		ended <- a.printLog(reader)
		out.Close()
	}()
	return bufio.NewScanner(shown), ended
}

// TestFollow: a line shows up when it is written and not before, a line is never cut, and the end of the session ends it.
func TestFollow(t *testing.T) {
	writer, reader := growing(t)
	write := func(text string) {
		if _, err := writer.WriteString(text); err != nil {
			t.Error(err)
		}
	}
	write(`{"time":"x","event":"session.start"}` + "\n")
	lines, done := followed(t, reader, io.Discard)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			t.Fatalf("got %q, want %q", lines.Text(), want)
		}
	}
	next("x session.start")
	write(`{"time":"x","event":"net.deny",`)
	write(`"host":"evil.example"}` + "\n")
	next("x net.deny host=evil.example")
	write(`{"time":"x","event":"session.end"}` + "\n" + `{"event":"never shown"}` + "\n")
	next("x session.end")
	if lines.Scan() {
		t.Errorf("more: %q", lines.Text())
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFollowGone: a record that is taken away ends it, with all that was in it shown.
func TestFollowGone(t *testing.T) {
	name := filepath.Join(t.TempDir(), auditFile)
	if err := os.WriteFile(name, []byte("first\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tail, err := follow(f)
	if err != nil {
		t.Fatal(err)
	}
	defer tail.close()
	if err := os.Rename(name, name+".old"); err != nil {
		t.Fatal(err)
	}
	var got string
	for lines := bufio.NewScanner(tail); lines.Scan(); {
		got += lines.Text() + "\n"
	}
	if got != "first\n" {
		t.Errorf("got %q", got)
	}
}

func TestValue(t *testing.T) {
	for _, test := range []struct {
		in   any
		want string
	}{
		{"a.example", "a.example"},
		{"a b", `"a b"`},
		{"a=b host=c", `"a=b host=c"`},
		{"", `""`},
		{"\x1b[2J", `"\x1b[2J"`},
		{"\u202e", `"\u202e"`},
		{"größe", "größe"},
		{[]any{"a", "\u009b"}, `["a","\u009b"]`},
		{[]any{"a<b>&c"}, `["a<b>&c"]`},
		{true, "true"},
	} {
		if got := value(test.in); got != test.want {
			t.Errorf("value(%#v) = %s, want %s", test.in, got, test.want)
		}
	}
}

func TestNewestSession(t *testing.T) {
	state := t.TempDir()
	for i, files := range [][]string{{auditFile, reportFile}, {auditFile, reportFile}, {auditFile}} {
		dir := filepath.Join(state, "sessions", fmt.Sprintf("2026010%d-120000-00000000", i+1))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if err := os.WriteFile(filepath.Join(dir, f), []byte(dir), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct{ id, file, want string }{
		{"", auditFile, "20260103-120000-00000000"},
		{"", reportFile, "20260102-120000-00000000"}, // the third is still running
		{"20260101-120000-00000000", reportFile, "20260101-120000-00000000"},
		{"20260103-120000-00000000", reportFile, ""},
		{"20260109-120000-00000000", auditFile, ""},
		{"..", auditFile, ""},
		{"../sessions/20260101-120000-00000000", auditFile, ""},
		{"/etc", "passwd", ""},
	} {
		f, err := openRecord(state, test.id, test.file)
		if test.want == "" {
			if err == nil {
				t.Errorf("%q: %s was opened", test.id, f.Name())
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", test.id, err)
		} else if got := filepath.Base(filepath.Dir(f.Name())); got != test.want {
			t.Errorf("%q: %s, want %s", test.id, got, test.want)
		}
	}
}

// TestFollowEndsWithTheWriter: a launcher that was killed writes no end.
func TestFollowEndsWithTheWriter(t *testing.T) {
	writer, reader := growing(t)
	fmt.Fprintln(writer, `{"time":"x","event":"session.start"}`)
	var told strings.Builder
	lines, done := followed(t, reader, &told)
	lines.Scan()
	select {
	case <-done:
		t.Error("it ended while there was a writer")
	case <-time.After(lookAgain + lookAgain/2):
	}
	writer.Close()
	if lines.Scan() || <-done != nil || !strings.Contains(told.String(), "launcher was killed") {
		t.Errorf("%q, and %q on stderr", lines.Text(), told.String())
	}
}
