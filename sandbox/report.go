package sandbox

import (
	"syscall"
	"time"

	"github.com/agentjail/agentjail/netns/egress"
)

// Report is what happened, version 1; agentjail(1), REPORT, has each field.
type Report struct {
	Version  int          `json:"version"`
	Session  string       `json:"session"`
	Name     string       `json:"name,omitempty"` // of --name
	Profile  string       `json:"profile"`
	Project  string       `json:"project"`
	Command  []string     `json:"command"`
	Started  time.Time    `json:"started"`
	Finished time.Time    `json:"finished"`
	ExitCode int          `json:"exit_code"`
	Signal   string       `json:"signal,omitempty"` // SIGTERM, when the command was killed by one
	EndedBy  string       `json:"ended_by"`         // command, signal, limit, tripwire, error
	Error    *ReportError `json:"error,omitempty"`
	Degraded []string     `json:"degraded"`
	Net      ReportNet    `json:"net"`
	FS       ReportFS     `json:"fs"`
	Limits   []string     `json:"limits,omitempty"` // limits that were hit, by name
	// Unenforced are the default limits that this machine does not hold, by name. One that somebody asked for stands in Degraded.
	Unenforced []string             `json:"unenforced,omitempty"`
	Secrets    []egress.SecretCount `json:"secrets"`

	Interrupt Interrupt `json:"-"`
	// Unread is set when the wait for the reader of the command's last output was ended: who writes there may wait as long.
	Unread bool `json:"-"`
}

// Interrupt is the SIGINT or SIGQUIT of the user's that the command died of, 0 when it ended otherwise. A shell goes by it to end the
// loop that we are in, and so our process has to die of it as well. Group says that it was typed while the caller's terminal was raw:
// our process group then has not had it from the terminal, as it would have had without a jail.
type Interrupt struct {
	Signal syscall.Signal
	Group  bool
}

// ReportError is why a run failed before or beside its command.
type ReportError struct {
	Step    string `json:"step"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// ReportNet is what the door let through and refused.
type ReportNet struct {
	Allowed []egress.HostCount   `json:"allowed"`
	Denied  []egress.DenialCount `json:"denied"`
}

// ReportFS is what the run left in the project that the host might execute later.
type ReportFS struct {
	Quarantined      []string `json:"quarantined"`
	DelayedExecution []string `json:"delayed_execution"`
	// HiddenChanged are links that led to something hidden and no longer do.
	HiddenChanged []string `json:"hidden_changed,omitempty"`
}
