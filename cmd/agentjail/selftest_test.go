package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/agentjail/agentjail/sandbox/selftest"
)

// TestSelftestDocumented: the manual has each field of selftest's answer and no other, and each result.
func TestSelftestDocumented(t *testing.T) {
	text := section(t, "SELFTEST")
	documented, fields := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "**") {
			for _, found := range regexp.MustCompile(`\*\*(\w+)\*\*`).FindAllStringSubmatch(line, -1) {
				documented[found[1]] = true
			}
		}
	}
	for _, of := range []reflect.Type{reflect.TypeFor[selftest.Report](), reflect.TypeFor[selftest.Attempt]()} {
		for f := range of.Fields() {
			if key, _, _ := strings.Cut(f.Tag.Get("json"), ","); key != "-" {
				fields[key] = true
			}
		}
	}
	if !maps.Equal(documented, fields) {
		t.Errorf("documented are %q, there are %q", slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(fields)))
	}
	for _, result := range []string{selftest.Stopped, selftest.Escaped, selftest.Inconclusive, selftest.Absent} {
		if !strings.Contains(text, "*"+result+"*: ") {
			t.Errorf("result %s is missing", result)
		}
	}
}

// TestInterrupted: a signal to all of a test's processes may be seen at a jail before our own is.
func TestInterrupted(t *testing.T) {
	for script, want := range map[string]syscall.Signal{
		"exit 130": syscall.SIGINT, "exit 131": syscall.SIGQUIT, "kill -TERM $$": syscall.SIGTERM, "kill -HUP $$": syscall.SIGHUP,
		"exit 3": 0, "exit 125": 0, "exit 137": 0, "kill -KILL $$": 0, "exit 255": 0,
	} {
		err := exec.Command("/bin/sh", "-c", script).Run()
		by, ok := interrupted(t.Context(), fmt.Errorf("the jail did not start: %w", err))
		if ok != (want != 0) || ok && by.Signal != want {
			t.Errorf("%s: %v, %v", script, by.Signal, ok)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(signalled{syscall.SIGINT})
	if by, ok := interrupted(ctx, errors.New("the bystander did not start")); !ok || by.Signal != syscall.SIGINT {
		t.Errorf("%v, %v", by.Signal, ok)
	}
	if _, ok := interrupted(ctx, nil); ok {
		t.Error("a test that is done was interrupted")
	}
}
