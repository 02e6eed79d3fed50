package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agentjail/agentjail/sandbox"
)

// The records of past and running sessions: STATE/sessions/ID/{audit.jsonl,report.json}.
const (
	auditFile   = "audit.jsonl"
	reportFile  = "report.json"
	roomFile    = ".report.json" // what it is while it runs
	controlFile = "control"      // while it runs
)

// openRecord opens one file of a session's record.
func openRecord(state, ref, file string) (*os.File, error) {
	id, err := findSession(state, ref, file)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(state, "sessions", id, file))
	if errors.Is(err, fs.ErrNotExist) && file == reportFile && !sandbox.Running(state, id) {
		return nil, usage("agentjail log "+quote(id), "session %s has no report: its launcher was killed", id)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usage("agentjail log "+quote(id), "session %s has no %s yet", id, file)
	}
	return f, err
}

// findSession gives the ID of the session that ref means: an ID, a name that --name gave, or "" for any. Of several it is the newest
// that has the file: `agentjail report` beside a running session tells of the one that ended.
func findSession(state, ref, file string) (string, error) {
	dir := filepath.Join(state, "sessions")
	has := func(id, file string) bool {
		_, err := os.Stat(filepath.Join(dir, id, file))
		return err == nil
	}
	if ref != "" && !isSessionName(ref) {
		if ref != filepath.Base(ref) || strings.HasPrefix(ref, ".") {
			return "", usage("ls "+quote(dir), "%q is neither the ID nor the name of a session", ref)
		}
		if !has(ref, ".") {
			return "", usage("ls "+quote(dir), "there is no session %s", ref)
		}
		return ref, nil
	}
	entries, err := os.ReadDir(dir) // sorted by name, and an ID begins with the time
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	without := "" // the newest that is meant and has no such file
	for _, e := range slices.Backward(entries) {
		if ref != "" && nameOf(filepath.Join(dir, e.Name())) != ref {
			continue
		}
		if has(e.Name(), file) {
			return e.Name(), nil
		}
		if without == "" {
			without = e.Name()
		}
	}
	switch {
	case ref == "":
		return "", usage("each run is one: agentjail -- COMMAND [ARG...]", "there is no session in %s", dir)
	case without == "":
		return "", usage("ls "+quote(dir), "there is no session %s", ref)
	}
	return without, nil
}

// nameOf reads a session's name from its first event; "" when it has none.
func nameOf(session string) string {
	f, err := os.Open(filepath.Join(session, auditFile))
	if err != nil {
		return ""
	}
	defer f.Close()
	var start struct{ Name string }
	if json.NewDecoder(f).Decode(&start) != nil {
		return ""
	}
	return start.Name
}
