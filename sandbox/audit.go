package sandbox

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/agentjail/agentjail/netns/egress"
)

// maxAudit bounds one session's record, so that a jail that asks for a million names does not fill the user's disk. What comes after
// is counted in the last line. Bytes.
const maxAudit = 64 << 20

// audit is a session's record, one JSON object a line (agentjail(1), LOG). It lies outside the jail, so the jail cannot change it; JSON
// escapes what the jail wrote, so one event is one line.
type audit struct {
	mu      sync.Mutex
	file    *os.File
	report  *os.File // has room for the report since the beginning, under the name reportPart
	written int64    // of the report
	session string
	seq     int64
	size    int64
	dropped int64
	failed  chan error // gets the first write that failed: the run ends then
}

// The report takes its name when all of it is written: who finds report.json finds a run that has ended.
const (
	auditName  = "audit.jsonl"
	reportName = "report.json"
	reportPart = ".report.json"
	reportRoom = 64 << 10 // bytes; a hundred hosts are ten thousand
)

// noRecord is the error of a record that cannot be written.
func noRecord(err error) error {
	hint := "the session's record must be writable: make room, or set XDG_STATE_HOME to a directory of yours"
	if errors.Is(err, unix.EFBIG) {
		hint = smallFiles
	}
	return &Error{Step: StepAudit, Err: err, Hint: hint}
}

// record is one line.
type record struct {
	Time    time.Time `json:"time"`
	Seq     int64     `json:"seq"`
	Session string    `json:"session"`
	Event   string    `json:"event"`

	// session.start
	Name    string   `json:"name,omitempty"`
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

// openAudit makes the session's directory, its record, 0600, with a first line, and room for the report. A disk that is full or
// read-only shows here, where nothing has run yet; nothing of the record is left then.
func openAudit(dir, session string, first record) (*audit, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	a := &audit{session: session, failed: make(chan error, 1)}
	err := a.open(dir)
	if err == nil {
		a.write(first)
		select {
		case err = <-a.failed:
		default:
			return a, nil
		}
	}
	a.file.Close() // of nil it is an error and nothing else
	a.report.Close()
	return nil, errors.Join(err, os.RemoveAll(dir))
}

func (a *audit) open(dir string) (err error) {
	const flags = os.O_CREATE | os.O_EXCL | os.O_WRONLY
	if a.file, err = os.OpenFile(filepath.Join(dir, auditName), flags|os.O_APPEND, 0o600); err != nil {
		return err
	}
	// Who follows the record sees by this lock whether somebody writes it (flock(2)); where there are none, it is not seen.
	_ = unix.Flock(int(a.file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if a.report, err = os.OpenFile(filepath.Join(dir, reportPart), flags, 0o600); err != nil {
		return err
	}
	err = unix.EINTR
	for errors.Is(err, unix.EINTR) { // tmpfs gives up at any signal of the runtime's
		err = unix.Fallocate(int(a.report.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, reportRoom)
	}
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) { // there, the disk's state is known when the report is written
		return &fs.PathError{Op: "fallocate", Path: a.report.Name(), Err: err}
	}
	return nil
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
	}
	if err != nil {
		a.file.Truncate(a.size) // half a line is none
		a.fail(err)
		return
	}
	a.size += int64(len(line)) + 1
}

// fail tells the run of the first failure.
func (a *audit) fail(err error) {
	select {
	case a.failed <- err:
	default:
	}
}

// close ends the record with the report and says whether all of it was written since somebody last heard of a failure.
func (a *audit) close(report []byte) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	n, err := a.report.Write(report)
	a.written = int64(n)
	name := a.report.Name()
	err = errors.Join(err, a.file.Close())
	if err == nil {
		err = os.Rename(name, filepath.Join(filepath.Dir(name), reportName))
	} else {
		err = errors.Join(err, os.Remove(name)) // a part of a report is none
	}
	select {
	case werr := <-a.failed:
		err = errors.Join(werr, err)
	default:
	}
	return err
}

// release gives back the room that the report did not need, for which a disk that is told what is free (ext4's discard) takes a millisecond.
// Where it fails, that stays as it was.
func (a *audit) release() {
	if a != nil {
		_ = a.report.Truncate(a.written)
		_ = a.report.Close()
	}
}
