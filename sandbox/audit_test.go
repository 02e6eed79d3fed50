package sandbox

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agentjail/agentjail/netns/egress"
)

func TestAuditIsOneLineAnEvent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sessions", "s")
	a, err := openAudit(dir, "s")
	if err != nil {
		t.Fatal(err)
	}
	host := "evil\n{\"event\":\"session.end\"}\x1b[2J\u2028"
	a.door(egress.Event{Kind: "net.deny", Host: host, Port: 443, Reason: egress.NotAllowed})
	a.write(record{Event: "session.end"})
	if err := a.close(); err != nil {
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
	if len(lines) != 2 {
		t.Fatalf("%d lines:\n%s", len(lines), data)
	}
	if strings.ContainsAny(lines[0], "\x1b\u2028") {
		t.Errorf("control characters in %q", lines[0])
	}
	var got struct {
		Seq                          int
		Session, Event, Host, Reason string
		Port                         int
	}
	if err := json.Unmarshal([]byte(lines[0]), &got); err != nil {
		t.Fatal(err)
	}
	if got.Seq != 1 || got.Session != "s" || got.Event != "net.deny" || got.Host != host || got.Port != 443 || got.Reason != "not_allowed" {
		t.Errorf("%+v", got)
	}
}

func TestAuditIsBounded(t *testing.T) {
	dir := t.TempDir()
	a, err := openAudit(dir, "s")
	if err != nil {
		t.Fatal(err)
	}
	a.size = maxAudit - 1
	for range 3 {
		a.door(egress.Event{Kind: "net.deny"})
	}
	a.write(record{Event: "session.end"})
	a.close()
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
