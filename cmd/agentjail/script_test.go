package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/agentjail/agentjail/integration/leaktest"
)

func TestMain(m *testing.M) {
	testscript.Main(tidy{m}, map[string]func(){"agentjail": main})
}

// tidy looks for what the tests have left.
type tidy struct{ *testing.M }

func (t tidy) Run() int { return leaktest.Run(t.M) }

// TestScript runs testdata/*.txtar: everything that people say and that needs no jail to be answered. A script starts in
// $WORK/project; HOME, XDG_CONFIG_HOME and XDG_STATE_HOME lie in $WORK too. Beside testscript's own commands:
//
//	argv WORD...    the plan on stdout (plan --json) runs exactly these words
//	status N CMD... exec, and the exit status is N
//	lines FILE N    FILE (or stdout, stderr) has N lines
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for name, dir := range map[string]string{"HOME": "home", "XDG_CONFIG_HOME": "config", "XDG_STATE_HOME": "state", "PROJECT": "project"} {
				path := filepath.Join(env.WorkDir, dir)
				env.Setenv(name, path)
				if dir == "state" {
					continue // not made: a test looks whether it stays so
				}
				if err := os.MkdirAll(path, 0o700); err != nil {
					return err
				}
			}
			// Words that a script's own quoting would be in the way of.
			env.Setenv("QUOTE", "it's")
			env.Setenv("ESCAPE", "\x1b[2Jfoo")
			env.Cd = filepath.Join(env.WorkDir, "project")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"argv": argv, "status": status, "lines": lines},
	})
}

func argv(ts *testscript.TestScript, neg bool, want []string) {
	var plan struct {
		Command struct {
			Argv []string `json:"argv"`
		} `json:"command"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &plan))
	if slices.Equal(plan.Command.Argv, want) == neg {
		ts.Fatalf("argv is %q, want %q", plan.Command.Argv, want)
	}
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N CMD...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d; stderr:\n%s", got, want, ts.ReadFile("stderr"))
	}
}

func lines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lines FILE N")
	}
	want, err := strconv.Atoi(args[1])
	ts.Check(err)
	if got := strings.Count(ts.ReadFile(args[0]), "\n"); got != want {
		ts.Fatalf("%s has %d lines, want %d:\n%s", args[0], got, want, ts.ReadFile(args[0]))
	}
}
