package selftest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// runTime bounds a test that takes seconds.
const runTime = 3 * time.Minute

// Options are what a test is about.
type Options struct {
	Profiles   []string           // names and files, as --profile has them; none: default
	ConfigHome string             // where the user's profiles lie: XDG_CONFIG_HOME
	Homes      []string           // the user's own: only what a jail shows of these is looked for there
	Progress   func(done, of int) // after each answer, from one goroutine at a time; may be nil

	// For tests; nil in life.
	launch func([]string) []string // the argv that runs a jail's command, given its flags
	only   func(attempt) bool
}

// Run makes the jails, has everything tried and tells what came of it. The error is about a test that could not be made: a jail that did
// not start. Nothing is left when it returns.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.launch == nil {
		o.launch = func(flags []string) []string { return append([]string{"agentjail", "run", "--quiet"}, flags...) }
	}
	g, err := plant()
	if err != nil {
		return nil, err
	}
	defer g.undo.run()
	g.shared.Credentials = credentials(o.Homes)
	return run(ctx, o, g)
}

func run(ctx context.Context, o Options, g *ground) (*Report, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, runTime, fmt.Errorf("did not end within %v", runTime))
	defer cancel()
	r := &running{Options: o, ground: g, all: catalogue(), answers: map[string]map[string]line{roleAttack: {}, "control": {}}}
	if o.only != nil {
		r.all = slices.DeleteFunc(r.all, func(a attempt) bool { return !o.only(a) })
	}
	err := r.everything(ctx)
	if cause := context.Cause(ctx); cause != nil { // what has been answered by then is no report
		err = cause
	}
	if err != nil {
		return nil, err
	}
	report := judge(r.all, r.answers[roleAttack], r.answers["control"])
	for i := range report.Attempts { // the names of temporary directories tell nobody anything
		a := &report.Attempts[i]
		for _, text := range []*string{&a.Detail, &a.Control} {
			*text = strings.NewReplacer(filepath.Join(g.dir, roleAttack, "home"), "~", filepath.Join(g.dir, roleOutside, "home"), "~", g.dir, "…").Replace(*text)
		}
	}
	return report, nil
}

// running is a test while it is made.
type running struct {
	Options
	*ground
	all []attempt

	mu      sync.Mutex
	done    int
	answers map[string]map[string]line // by side, attack or control, and by the attempt's name
}

// batch is attempts that one runner makes.
type batch struct {
	role, side string // side: attack or control
	names      []string
	terminal   bool
}

func (r *running) everything(ctx context.Context) error {
	stopBystander, err := r.bystander(ctx)
	if err != nil {
		return err
	}
	defer stopBystander()
	stopOther, err := r.otherJail(ctx)
	if err != nil {
		return err
	}
	defer stopOther()
	onTerminal := func(a attempt) bool { return a.area == terminal }
	batches := []batch{
		{roleAttack, roleAttack, named(r.all, func(a attempt) bool { return !onTerminal(a) }), false},
		{roleAttack, roleAttack, named(r.all, onTerminal), true},
		{roleOutside, "control", named(r.all, func(a attempt) bool { return a.control == outside && !onTerminal(a) }), false},
		{roleOutside, "control", named(r.all, onTerminal), true},
		{roleNamespace, "control", named(r.all, func(a attempt) bool { return a.control == namespace }), false},
	}
	failures := make([]error, len(batches))
	var all sync.WaitGroup
	for i, b := range batches {
		all.Go(func() { failures[i] = r.batch(ctx, b) })
	}
	all.Wait()
	return once(failures)
}

// batch runs a runner to its end.
func (r *running) batch(ctx context.Context, b batch) error {
	t := r.side(roleOutside)
	if b.role == roleAttack {
		t = r.side(roleAttack)
	}
	var stdin *os.File
	if b.terminal {
		master, slave, err := pty()
		if err != nil {
			return err
		}
		defer master.Close()
		defer slave.Close()
		var s unix.Stat_t
		if err := unix.Fstat(int(slave.Fd()), &s); err != nil {
			return err
		}
		stdin, t.TTY = slave, inode{s.Dev, s.Ino}
	}
	cmd, said, err := r.command(ctx, b.role, job{b.names, t}, stdin)
	if err != nil {
		return err
	}
	inherited, err := r.inherited(t)
	if err != nil {
		return err
	}
	defer closeAll(inherited)
	cmd.ExtraFiles = inherited
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err = cmd.Start(); err == nil {
		r.collect(json.NewDecoder(out), b)
		err = cmd.Wait()
	}
	if r.count(b) == 0 && len(b.names) > 0 {
		if b.side == roleAttack {
			return failed(err, said)
		}
		r.silent(b, err, said)
	}
	return nil // what has not been answered is inconclusive
}

// Error is a test that could not be made: a jail did not start, or there is no place for it.
type Error struct {
	Err  error
	Hint string // what to do about it, where somebody knows; the launcher's advice is kept
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// failed is the error of a runner that gave no answer: what its launcher said instead, or else the first words of its own.
func failed(err error, said *bytes.Buffer) error {
	if err == nil {
		err = errors.New("it ended without an answer")
	}
	var whys, hints, own, rest []string
	last := &own
	for l := range strings.Lines(said.String()) {
		l = strings.TrimRight(l, "\r\n")
		text, ui := strings.CutPrefix(l, "agentjail: ")
		if why, ok := strings.CutPrefix(text, "error: "); ui && ok {
			last, text = &whys, why
		} else if hint, ok := strings.CutPrefix(text, "hint: "); ui && ok {
			last, text = &hints, hint
		} else if ui && !strings.HasPrefix(text, " ") { // else more of the text above, in a column under it
			last = &rest
		} else if !ui {
			last = &own
		}
		if text = strings.TrimSpace(text); text != "" {
			*last = append(*last, text)
		}
	}
	e := &Error{Err: fmt.Errorf("the jail did not start: %w", err), Hint: strings.Join(hints, "\n")}
	switch {
	case len(whys) > 0:
		e.Err = errors.New(strings.Join(whys, "\n"))
	case len(own) > 0:
		e.Err = fmt.Errorf("the jail's command: %s: %w", own[0], err)
	}
	return e
}

// once drops errors that say what one before them says: the same cause ends several runners.
func once(all []error) error {
	var different []error
	for _, err := range all {
		if err != nil && !slices.ContainsFunc(different, func(e error) bool { return e.Error() == err.Error() }) {
			different = append(different, err)
		}
	}
	return errors.Join(different...)
}

// silent notes why the runner of controls gave no answer: nobody knows what would have come of them.
func (r *running) silent(b batch, err error, said *bytes.Buffer) {
	why := failed(err, said)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range b.names {
		r.answers[b.side][name] = line{Name: name, Unready: true, Error: oneLine(why)}
	}
}

// collect keeps a runner's answers until it has no more.
func (r *running) collect(in *json.Decoder, b batch) {
	for {
		var l line
		if err := in.Decode(&l); err != nil {
			return
		}
		r.mu.Lock()
		if _, again := r.answers[b.side][l.Name]; slices.Contains(b.names, l.Name) && !again {
			r.answers[b.side][l.Name] = l
			r.done++
			if r.Progress != nil {
				r.Progress(r.done, 2*len(r.all))
			}
		}
		r.mu.Unlock()
	}
}

func (r *running) count(b batch) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, name := range b.names {
		if _, ok := r.answers[b.side][name]; ok {
			n++
		}
	}
	return n
}
