package sandbox

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/agentjail/agentjail/netns/egress"
)

// maxAudit bounds one session's record, so that a jail that asks for a million names does not fill the user's disk. What comes after
// is counted in the last line. Bytes.
const maxAudit = 64 << 20

// audit is a session's record, one JSON object a line (README, "Audit"). It lies outside the jail, so the jail cannot change it; JSON
// escapes what the jail wrote, so one event is one line.
type audit struct {
	mu      sync.Mutex
	file    *os.File
	session string
	seq     int64
	size    int64
	dropped int64
	err     error // the first write that failed; the run's error when it ends
}

// record is one line.
type record struct {
	Time    time.Time `json:"time"`
	Seq     int64     `json:"seq"`
	Session string    `json:"session"`
	Event   string    `json:"event"`

	// session.start
	Command []string `json:"command,omitempty"`
	Profile string   `json:"profile,omitempty"`
	Project string   `json:"project,omitempty"`
	// session.end
	ExitCode *int   `json:"exit_code,omitempty"`
	EndedBy  string `json:"ended_by,omitempty"`
	Dropped  int64  `json:"dropped,omitempty"` // events that the bound on this file left out
	// limit
	Limit string `json:"limit,omitempty"`
	// secret.revoke
	Secrets []string `json:"secrets,omitempty"`

	*doorFields
}

// doorFields are an egress.Event's own fields, without the two that a record has already.
type doorFields struct {
	Host   string        `json:"host,omitempty"`
	Port   uint16        `json:"port,omitempty"`
	Addr   string        `json:"addr,omitempty"`
	Reason egress.Reason `json:"reason,omitempty"`
	Detail string        `json:"detail,omitempty"`
	Up     int64         `json:"bytes_up,omitempty"`
	Down   int64         `json:"bytes_down,omitempty"`
	Method string        `json:"method,omitempty"`
	Path   string        `json:"path,omitempty"`
	Status int           `json:"status,omitempty"`
	Secret string        `json:"secret,omitempty"`
}

// openAudit makes the session's directory and its record, 0600.
func openAudit(dir, session string) (*audit, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "audit.jsonl"), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	return &audit{file: f, session: session}, nil
}

// door records an event of the door.
func (a *audit) door(e egress.Event) {
	a.write(record{Time: e.Time, Event: e.Kind, doorFields: &doorFields{Host: e.Host, Port: e.Port, Addr: e.Addr, Reason: e.Reason,
		Detail: e.Detail, Up: e.Up, Down: e.Down, Method: e.Method, Path: e.Path, Status: e.Status, Secret: e.Secret}})
}

// revoked records which secrets somebody has ended.
func (a *audit) revoked(names []string) { a.write(record{Event: "secret.revoke", Secrets: names}) }

func (a *audit) write(r record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.size > maxAudit && r.Event != "session.end" {
		a.dropped++
		return
	}
	a.seq++
	r.Seq, r.Session, r.Dropped = a.seq, a.session, a.dropped
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	line, err := json.Marshal(r)
	if err == nil {
		_, err = a.file.Write(append(line, '\n'))
		a.size += int64(len(line)) + 1
	}
	if err != nil && a.err == nil {
		a.err = fmt.Errorf("audit: %w", err)
	}
}

// close ends the record and says whether all of it was written.
func (a *audit) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.file.Close(); err != nil && a.err == nil {
		a.err = fmt.Errorf("audit: %w", err)
	}
	return a.err
}
