package integration

import (
	"debug/buildinfo"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
)

// raced says whether the binary under test has the race detector in it, as that of .ci/test's second run has.
func raced(bin string) (bool, error) {
	info, err := buildinfo.ReadFile(bin)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" }), nil
}

// races makes the race detector of every process of a test end it at the first race, with a status of its own, and tell of it in a file
// in dir: a script may have asked for a failure, and looks at no stderr that it does not expect. The gateway is left out: it has no
// environment, and package sandbox's tests start it under the detector too.
func races(dir string) (found func() error, err error) {
	nothing := func() error { return nil }
	if is, err := raced(os.Getenv("AGENTJAIL_BIN")); err != nil || !is {
		return nothing, err
	}
	// Without the last word a process sleeps for a second at its end.
	if err := os.Setenv("GORACE", "halt_on_error=1 exitcode=66 atexit_sleep_ms=0 log_path="+filepath.Join(dir, "race")); err != nil {
		return nothing, err
	}
	return func() error {
		files, err := filepath.Glob(filepath.Join(dir, "race.*"))
		for _, name := range files {
			text, readErr := os.ReadFile(name)
			err = errors.Join(err, readErr, errors.New(string(text)))
		}
		return err
	}, nil
}

func init() { programs["racer"] = program(racer) }

// racer has a race, if it was built to notice.
func racer([]string) error {
	n := 0
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { n++ })
	}
	both.Wait()
	return nil
}

// TestRaceIsSeen is the control of the run under the race detector: a race ends the process, and is told of.
func TestRaceIsSeen(t *testing.T) {
	if is, err := raced(os.Getenv("AGENTJAIL_BIN")); err != nil || !is {
		if err != nil {
			t.Error(err)
		}
		return // of the binary that people get nothing is to be seen
	}
	dir := t.TempDir()
	before := os.Getenv("GORACE")
	t.Setenv("GORACE", before)
	found, err := races(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("racer")
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 66 {
		t.Errorf("a race ended with %d, %v\n%s", code, err, out)
	}
	if err := found(); err == nil || !strings.Contains(err.Error(), "DATA RACE") {
		t.Errorf("found %v; was go test told -race?", err)
	}
	if before == "" || !keep.MatchString("GORACE="+before) {
		t.Error("scripts do not pass GORACE on")
	}
}
