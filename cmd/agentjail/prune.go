package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/agentjail/agentjail/sandbox"
)

// How long records of sessions are kept: the newest in any case, others until they are old.
const (
	keptSessions = 100
	keptTime     = 30 * 24 * time.Hour
	pruneEvery   = 24 * time.Hour // to read the names of a thousand takes 1 ms, of a run's 25
	pruneMark    = "pruned"       // below the state directory; its time is that of the last look
)

// pruneSessions removes the records of sessions that ended more than keptTime ago, but for the newest keptSessions and for what runs; and of
// the others the room of a report that a killed launcher has not written.
func pruneSessions(state string, now time.Time) error {
	mark := filepath.Join(state, pruneMark)
	if info, err := os.Lstat(mark); err == nil && now.Sub(info.ModTime()).Abs() < pruneEvery {
		return nil
	}
	dir := filepath.Join(state, "sessions")
	entries, err := os.ReadDir(dir) // sorted by name, and an ID begins with the time
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err = os.WriteFile(mark, nil, 0o600); err == nil {
		err = os.Chtimes(mark, now, now)
	}
	if err != nil {
		return err
	}
	began := now.Add(-keptTime).UTC().Format("20060102-150405")
	old, _ := slices.BinarySearchFunc(entries, began, func(e fs.DirEntry, t string) int { return strings.Compare(e.Name(), t) })
	old = max(0, min(old, len(entries)-keptSessions))
	id := regexp.MustCompile(`^\d{8}-\d{6,12}-[0-9a-f]{8}$`) // what sandbox calls them: nothing else is ours to remove
	var errs []error
	lately := now.Add(-pruneEvery).UTC().Format("20060102-150405") // what has just begun cannot be asked whether it runs
	for _, e := range entries {
		room := filepath.Join(dir, e.Name(), roomFile)
		if _, err := os.Lstat(room); err == nil && id.MatchString(e.Name()) && e.Name() < lately && !sandbox.Running(state, e.Name()) {
			errs = append(errs, os.Remove(room))
		}
	}
	for _, e := range entries[:old] {
		if !e.IsDir() || !id.MatchString(e.Name()) {
			continue
		}
		// The directory changes for the last time when the session ends.
		info, err := e.Info()
		if err != nil || now.Sub(info.ModTime()) < keptTime || sandbox.Running(state, e.Name()) {
			continue // an error: another run has just removed it
		}
		errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}
