package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The records of past and running sessions: STATE/sessions/ID/{audit.jsonl,report.json}.
const (
	auditFile  = "audit.jsonl"
	reportFile = "report.json"
)

// openRecord opens one file of a session's record. Without an ID it is the newest session that has the file: `agentjail report`
// beside a running session tells of the one that ended.
func openRecord(state, id, file string) (*os.File, error) {
	dir := filepath.Join(state, "sessions")
	if id == "" {
		newest, err := newestSession(dir, file)
		if err != nil {
			return nil, err
		}
		id = newest
	} else if id != filepath.Base(id) || strings.HasPrefix(id, ".") {
		return nil, usage("ls "+quote(dir), "%q is not the ID of a session", id)
	}
	f, err := os.Open(filepath.Join(dir, id, file))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, id)); err == nil {
			return nil, usage("agentjail log "+quote(id), "session %s has no %s yet", id, file)
		}
		return nil, usage("ls "+quote(dir), "there is no session %s", id)
	}
	return f, err
}

// newestSession is the one that began last: an ID begins with the time.
func newestSession(dir, file string) (string, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, e := range slices.Backward(entries) {
		if _, err := os.Stat(filepath.Join(dir, e.Name(), file)); err == nil {
			return e.Name(), nil
		}
	}
	return "", usage("", "there is no session in %s", dir)
}
