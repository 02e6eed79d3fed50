package sandbox

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/agentjail/agentjail/netns/egress"
)

func TestAuditIsOneLineAnEvent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sessions", "s")
	a, err := openAudit(dir, "s", record{Event: "session.start"})
	if err != nil {
		t.Fatal(err)
	}
	host := "evil\n{\"event\":\"session.end\"}\x1b[2J\u2028"
	a.door(egress.Event{Kind: "net.deny", Host: host, Port: 443, Reason: egress.NotAllowed})
	a.write(record{Event: "session.end"})
	if err := a.close(nil); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "audit.jsonl")
	if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", fi.Mode(), err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines:\n%s", len(lines), data)
	}
	if strings.ContainsAny(lines[1], "\x1b\u2028") {
		t.Errorf("control characters in %q", lines[1])
	}
	var got struct {
		Seq                          int
		Session, Event, Host, Reason string
		Port                         int
	}
	if err := json.Unmarshal([]byte(lines[1]), &got); err != nil {
		t.Fatal(err)
	}
	if got.Seq != 2 || got.Session != "s" || got.Event != "net.deny" || got.Host != host || got.Port != 443 || got.Reason != "not_allowed" {
		t.Errorf("%+v", got)
	}
}

func TestAuditIsBounded(t *testing.T) {
	dir := t.TempDir()
	a, err := openAudit(dir, "s", record{Event: "session.start"})
	if err != nil {
		t.Fatal(err)
	}
	a.size = maxAudit - 1
	for range 3 {
		a.door(egress.Event{Kind: "net.deny"})
	}
	a.write(record{Event: "session.end"})
	a.close(nil)
	data, err := os.ReadFile(filepath.Join(dir, "audit.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "net.deny"); n != 1 {
		t.Errorf("%d events after the bound", n)
	}
	if !strings.Contains(string(data), `"dropped":2`) {
		t.Errorf("the last line does not count what is missing: %s", data)
	}
}

// A report has its room from the beginning, ends where it ends as soon as it has its name, and gives back what it did not need.
func TestReportsRoom(t *testing.T) {
	dir := t.TempDir()
	a, err := openAudit(filepath.Join(dir, "s"), "s", record{Event: "session.start"})
	if err != nil {
		t.Fatal(err)
	}
	room := func(name string) int64 {
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(dir, "s", name), &st); err != nil {
			t.Fatal(err)
		}
		return st.Blocks * 512
	}
	if n := room(reportPart); n < reportRoom {
		t.Errorf("%d bytes are kept for the report, %d were due", n, reportRoom)
	}
	if err := a.close([]byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "s", reportName)); err != nil || string(b) != "{}\n" {
		t.Errorf("%q, %v", b, err)
	}
	if n := room(reportName); n < reportRoom {
		t.Errorf("only %d bytes: giving back belongs to release", n)
	}
	a.release()
	if n := room(reportName); n > reportRoom/4 {
		t.Errorf("%d bytes of disk for a report of 3", n)
	}
}
