package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/agentjail/agentjail/sandbox"
)

func TestTell(t *testing.T) {
	for _, test := range []struct{ name, report, want string }{
		{"success is silent", `{"ended_by": "command"}`, ""},
		{"one refusal", `{"session": "S", "net": {"denied": [{"host": "a.example", "port": 443, "reason": "not_allowed", "count": 1}]}}`,
			"agentjail: refused: a.example:443 is not a host that this session may reach (not_allowed); agentjail report S\n"},
		{"a name alone", `{"session": "S", "net": {"denied": [{"host": "a.example", "reason": "not_allowed", "count": 2}]}}`,
			"agentjail: refused: a.example is not a host that this session may reach (not_allowed, 2 times); agentjail report S\n"},
		{"a name and then its connection", `{"session": "S", "net": {"denied": [{"host": "a.example", "reason": "not_allowed", "count": 2},
			{"host": "a.example", "port": 80, "reason": "not_allowed", "count": 1}, {"host": "b.example", "reason": "not_allowed", "count": 1}]}}`,
			"agentjail: refused: a.example:80 (not_allowed), b.example (not_allowed); agentjail report S\n"},
		{"many", `{"session": "S", "net": {"denied": [{"host": "a", "port": 1, "reason": "port", "count": 1}, {"host": "b", "port": 1, "reason": "port", "count": 1},
			{"host": "c", "port": 1, "reason": "port", "count": 1}, {"host": "d", "port": 1, "reason": "port", "count": 7}, {"host": "e", "port": 1, "reason": "port", "count": 1}]}}`,
			"agentjail: refused: a:1 (port), b:1 (port), c:1 (port), …; agentjail report S\n"},
		{"text of the jail's", `{"session": "S", "net": {"denied": [{"host": "a\u001b[2J\nagentjail: ok", "port": 1, "reason": "bad_name", "count": 1}]}}`,
			"agentjail: refused: a\\x1b[2J\\nagentjail: ok:1 is not a host name in canonical form (bad_name); agentjail report S\n"},
		{"what may run later", `{"fs": {"delayed_execution": ["/p/.envrc", "/p/\u001b]0;x"]}}`,
			"agentjail: warning: changed during the run, and the host may execute it: /p/.envrc, /p/\\x1b]0;x\n"},
		{"a wall", `{"degraded": ["limits"]}`, "agentjail: warning: this wall did not stand: limits\n"},
		{"a limit", `{"session": "S", "ended_by": "limit", "limits": ["wall"]}`, "agentjail: ended by a limit: wall; agentjail report S\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var r sandbox.Report
			if err := json.Unmarshal([]byte(test.report), &r); err != nil {
				t.Fatal(err)
			}
			var loud, quiet bytes.Buffer
			(&app{ui: ui{w: &loud}}).tell(&r)
			(&app{ui: ui{w: &quiet, quiet: true}}).tell(&r)
			if loud.String() != test.want {
				t.Errorf("got\n%swant\n%s", loud.String(), test.want)
			}
			if quiet.Len() > 0 {
				t.Errorf("--quiet said %q", quiet.String())
			}
		})
	}
}

// TestPrintReport: each thing that happened has its line, and the jail's text stays in it.
func TestPrintReport(t *testing.T) {
	var r sandbox.Report
	if err := json.Unmarshal([]byte(`{"session": "S", "command": ["a b"], "ended_by": "signal", "signal": "SIGTERM", "exit_code": 143, "project": "/p\u001b[2J",
		"net": {"allowed": [{"host": "a.example", "port": 443, "connections": 1, "bytes_up": 5, "bytes_down": 7}],
		"denied": [{"host": "db.example", "port": 5432, "reason": "non_public", "count": 1}, {"host": "b.example", "port": 22, "reason": "port", "count": 2},
		{"host": "b\u001b[2J", "reason": "not_allowed", "count": 1}]}}`), &r); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := printReport(&b, &r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"command  'a b'\n", "ended    killed by SIGTERM, exit status 143\n", "project  /p\\x1b[2J\n",
		"allowed  a.example:443: 1 connection, 5 bytes up, 7 bytes down\n",
		"refused  db.example:5432 resolves to an address that is not public; only a rule that says so may reach it (non_public), 1 time\n",
		"           [[net.rule]]\n           host = \"db.example\"\n           ports = [5432]\n           private = true\n",
		"refused  b.example:22 is an allowed host, but not on this port (port), 2 times\n           to allow it: --allow b.example:22\n",
		"refused  b\\x1b[2J is not"} {
		if !bytes.Contains(b.Bytes(), []byte(want)) {
			t.Errorf("%q is missing in\n%s", want, b.String())
		}
	}
}

func TestDoctorText(t *testing.T) {
	good := sandbox.Check{Step: "kernel", OK: true, Call: "uname"}
	weak := sandbox.Check{Step: "cgroup", Call: "mkdir", Errno: "EACCES", Fix: "one\ntwo", Optional: true}
	bad := sandbox.Check{Step: "proc", Call: "mount /proc", Errno: "EPERM", Setting: "masked\x1b[2J", Fix: "x"}
	for _, test := range []struct {
		checks []sandbox.Check
		want   string
	}{
		{[]sandbox.Check{good, weak}, "ok    kernel           uname\nweak  cgroup           mkdir: EACCES\n      fix:     one\ntwo\nA jail can stand on this machine.\n"},
		{[]sandbox.Check{bad}, "FAIL  proc             mount /proc: EPERM\n      setting: masked\\x1b[2J\n      fix:     x\nNo jail can stand on this machine yet.\n"},
	} {
		var b bytes.Buffer
		if err := printChecks(&b, test.checks); err != nil || b.String() != test.want {
			t.Errorf("got\n%swant\n%s, %v", b.String(), test.want, err)
		}
	}
}
