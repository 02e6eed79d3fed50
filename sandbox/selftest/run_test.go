package selftest

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
)

// TestFailed: of what a runner has said, the error keeps what says why.
func TestFailed(t *testing.T) {
	status := errors.New("exit status 2")
	for _, tt := range []struct{ name, said, why, hint string }{
		{"nothing", "", "the jail did not start: exit status 2", ""},
		{"the launcher", "agentjail: error: plan: no\nagentjail: hint: do\n", "plan: no", "do"},
		{"several lines", "agentjail: error: plan:\nagentjail:        1| x\nagentjail:           ^\nagentjail: hint: do\nagentjail:       this\n",
			"plan:\n1| x\n^", "do\nthis"},
		{"more than one", "agentjail: error: a\nagentjail: warning: w\nagentjail:          x\nagentjail: error: b\n", "a\nb", ""},
		{"the runner", "\nopen /x: no\ngoroutine 1\n", "the jail's command: open /x: no: exit status 2", ""},
		{"both", "open /x: no\nagentjail: error: stdio: no\n", "stdio: no", ""},
	} {
		e, ok := errors.AsType[*Error](failed(status, bytes.NewBufferString(tt.said)))
		if !ok || e.Error() != tt.why || e.Hint != tt.hint {
			t.Errorf("%s: %q, %q", tt.name, e, e.Hint)
		}
	}
	if err := failed(nil, new(bytes.Buffer)); !strings.Contains(err.Error(), "without an answer") {
		t.Error(err)
	}
	if err := once([]error{nil, status, errors.New("x"), errors.New("exit status 2")}); err.Error() != "exit status 2\nx" {
		t.Errorf("%q", err)
	}
	if err := once([]error{nil, nil}); err != nil {
		t.Error(err)
	}
}

// TestSilentControl: where the controls' runner does not get as far as the first, each of them says why.
func TestSilentControl(t *testing.T) {
	options(t)
	g, err := plant()
	if err != nil {
		t.Fatal(err)
	}
	defer g.undo.run()
	for want, program := range map[string]string{"no namespaces for you": "#!/bin/sh\necho no namespaces for you >&2\nexit 1\n", "exec format error": "?"} {
		if err := errors.Join(os.Remove(g.program), os.WriteFile(g.program, []byte(program), 0o700)); err != nil {
			t.Fatal(err)
		}
		r := &running{ground: g, all: catalogue(), answers: map[string]map[string]line{"control": {}}}
		if err := r.batch(t.Context(), batch{role: roleNamespace, side: "control", names: []string{"restart"}}); err != nil {
			t.Error(err)
		}
		if l := r.answers["control"]["restart"]; l.Done || !l.Unready || !strings.Contains(l.Error, want) {
			t.Errorf("%+v", l)
		}
	}
}
