package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/agentjail/agentjail/profiles"
	"github.com/agentjail/agentjail/sandbox"
)

// The rules of this user interface:
//
//   - Standard output belongs to the command. run never writes to it; plan, profiles, doctor, log, report, version, completion
//     and --help do, because there it is the answer.
//   - Success is silent. What a person should know all the same is one line at the end: what was refused, what the run left
//     behind that the host might execute, which wall did not stand.
//   - Every line of ours on standard error begins with "agentjail: ", so that it can be told from the command's and grepped for.
//     An error is one "error:" line and, when there is something to do about it, one "hint:" line.
//   - A hint is a command to paste whenever one exists, quoted for the shell.
//   - Nothing asks. agentjail runs in CI and under other programs: a question there is a hang.
//   - No colours, no progress bars, no time stamps (but in --debug): the terminal is the command's. selftest, which has no command,
//     counts.
//   - Text that is not ours (names of hosts, paths, anything that a command or a repository can choose) is printed escaped: it
//     moves no cursor, sets no title, and forges no line of ours.
//   - --quiet drops notes and warnings, never errors.
type ui struct {
	w     io.Writer // standard error
	quiet bool
}

// fault is an error of this package: a mistake on the command line or a refusal. Hint is what to do about it, may be empty.
type fault struct {
	err  error
	hint string
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

// usage is a mistake on the command line.
func usage(hint, format string, args ...any) *fault {
	return &fault{err: fmt.Errorf(format, args...), hint: hint}
}

// fail prints an error once, with the hint that it or one of its causes carries.
func (u *ui) fail(err error) {
	u.say("error: ", err.Error())
	if hint := hintOf(err); hint != "" {
		u.say("hint: ", hint)
	}
}

// warn prints what weakens or outlives the run.
func (u *ui) warn(format string, args ...any) {
	if !u.quiet {
		u.say("warning: ", fmt.Sprintf(format, args...))
	}
}

// note prints what a person may want to know.
func (u *ui) note(format string, args ...any) {
	if !u.quiet {
		u.say("", fmt.Sprintf(format, args...))
	}
}

// say prints text under our prefix. A text of several lines (a TOML error shows the line, a hint may be a file to write) keeps
// them, each under the prefix, so that no line of it can be taken for another speaker's.
func (u *ui) say(kind, text string) {
	text = strings.TrimRight(text, "\n")
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			kind = strings.Repeat(" ", len(kind))
		}
		fmt.Fprintf(u.w, "agentjail: %s\n", strings.TrimRight(kind+printable(line), " "))
	}
}

// Write takes one line of the debug log, see slog.TextHandler.
func (u *ui) Write(line []byte) (int, error) {
	u.say("debug: ", string(line))
	return len(line), nil
}

// stepOf is the word in the report for where it failed.
func stepOf(err error) string {
	if e, ok := errors.AsType[*sandbox.Error](err); ok {
		return e.Step
	}
	return sandbox.StepPlan
}

// messageOf is the text in the report, which has the step beside it.
func messageOf(err error) string {
	if e, ok := err.(*sandbox.Error); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// hintOf finds the advice that an error carries.
func hintOf(err error) string {
	if f, ok := errors.AsType[*fault](err); ok && f.hint != "" {
		return f.hint
	}
	if e, ok := errors.AsType[*profiles.Error](err); ok && e.Hint != "" {
		return e.Hint
	}
	if e, ok := errors.AsType[*sandbox.Error](err); ok {
		return e.Hint
	}
	return ""
}

// hasty writes where perhaps nobody reads: it does not wait for long. What is still being written ends with this process.
type hasty struct{ w io.Writer }

const haste = 100 * time.Millisecond

func (h hasty) Write(p []byte) (int, error) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		h.w.Write(bytes.Clone(p))
	}()
	select {
	case <-written:
	case <-time.After(haste):
	}
	return len(p), nil
}

// printable gives s with everything escaped, as in a Go string, that is no graphic character: control bytes, escape sequences of
// terminals in their 7-bit and 8-bit forms, invisible and bidirectional formatting characters, broken UTF-8.
func printable(s string) string {
	clean := true
	for i, r := range s {
		if !graphic(s[i:], r) {
			clean = false
			break
		}
	}
	if clean {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if graphic(s[i:], r) {
			b.WriteString(s[i : i+n])
		} else {
			quoted := strconv.QuoteToASCII(s[i : i+n])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		i += n
	}
	return b.String()
}

// graphic says whether the rune r, with which s begins, may be shown as it is. A tab only moves to the right.
func graphic(s string, r rune) bool {
	if r == utf8.RuneError {
		_, n := utf8.DecodeRuneInString(s)
		return n > 1
	}
	return r == '\t' || unicode.IsPrint(r)
}

// printables escapes each of several texts.
func printables(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = printable(s)
	}
	return out
}
