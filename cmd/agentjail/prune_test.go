package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPruneSessions(t *testing.T) {
	state, err := os.MkdirTemp("/tmp", "prune") // a socket's name is short (unix(7))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(state) })
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	session := func(id string, ended time.Duration) string {
		dir := filepath.Join(state, "sessions", id)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, auditFile), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(dir, now.Add(-ended), now.Add(-ended)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	const day = 24 * time.Hour
	here := func(dir string, want bool) {
		t.Helper()
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s: %v, kept must be %v", filepath.Base(dir), err, want)
		}
	}
	old := session("20260101-000000000001-00000001", 31*day)
	month := session("20260101-000000000002-00000002", 29*day) // ran long
	running := session("20260101-000000000003-00000003", 31*day)
	killed := session("20260101-000000000004-00000004", 31*day)
	foreign := session("20260101-notes", 31*day)
	for _, dir := range []string{running, killed} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, controlFile)})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		defer l.Close()
		if dir == killed {
			l.Close()
		}
		if err := os.Chtimes(dir, now.Add(-31*day), now.Add(-31*day)); err != nil {
			t.Fatal(err)
		}
	}
	var newest []string
	for i := range keptSessions {
		newest = append(newest, session(fmt.Sprintf("20260102-%012d-00000000", i), 31*day))
	}
	// The room of a report is given back where nobody will write it: not of what runs, and not of what may have just begun.
	room := func(dir string) string {
		name := filepath.Join(dir, roomFile)
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	unwritten, waiting, begun := room(newest[0]), room(running), room(session(now.Format("20060102-150405")+"000000-00000000", 0))
	if err := os.Chtimes(running, now.Add(-31*day), now.Add(-31*day)); err != nil {
		t.Fatal(err)
	}
	if err := pruneSessions(state, now); err != nil {
		t.Fatal(err)
	}
	here(unwritten, false)
	here(waiting, true)
	here(begun, true)
	here(old, false)
	here(killed, false)
	here(month, true)
	here(running, true)
	here(foreign, true)
	for _, dir := range newest {
		here(dir, true)
	}
	again := session("20260101-000000000001-00000001", 31*day)
	if err := pruneSessions(state, now.Add(23*time.Hour)); err != nil {
		t.Fatal(err)
	}
	here(again, true) // one look a day
	if err := pruneSessions(state, now.Add(25*time.Hour)); err != nil {
		t.Fatal(err)
	}
	here(again, false)
	if err := pruneSessions(filepath.Join(state, "none"), now); err != nil {
		t.Error(err)
	}
}
