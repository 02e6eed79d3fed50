package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/agentjail/agentjail/sandbox"
)

// How long records of sessions are kept: the newest in any case, others until they are old.
const (
	keptSessions = 100
	keptTime     = 30 * 24 * time.Hour
)

// pruneSessions removes the records of sessions that ended more than keptTime ago, but for the newest keptSessions and for what runs.
func pruneSessions(state string, now time.Time) error {
	dir := filepath.Join(state, "sessions")
	entries, err := os.ReadDir(dir) // sorted by name, and an ID begins with the time
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	id := regexp.MustCompile(`^\d{8}-\d{6,12}-[0-9a-f]{8}$`) // what sandbox calls them: nothing else is ours to remove
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() || !id.MatchString(e.Name()) })
	var errs []error
	for _, e := range entries[:max(0, len(entries)-keptSessions)] {
		// The directory changes for the last time when the session ends.
		info, err := e.Info()
		if err != nil || now.Sub(info.ModTime()) < keptTime || sandbox.Running(state, e.Name()) {
			continue // an error: another run has just removed it
		}
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}
