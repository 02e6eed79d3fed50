// Command agentjail runs one command in a rootless jail. This package answers one question: how do people say it?
//
// It turns words into a profile, asks sandbox for a plan, has it run or printed, and tells the outcome: to people on standard
// error (ui.go), to scripts by the exit status (exit.go) and by the report. What a jail is and how it is built stands in
// package sandbox; what can be wished for stands in package profiles.
package main

import (
	"context"
	"io"
	"log"
	"os"

	"github.com/agentjail/agentjail/sandbox"
	"github.com/agentjail/agentjail/sandbox/selftest"
)

//go:generate go run github.com/cpuguy83/go-md2man/v2 -in agentjail.1.md -out agentjail.1

func main() {
	// The same binary is also the gateway and the jail's init; for those Reexec does not return.
	sandbox.Reexec()
	selftest.Reexec() // and, under another name, the command of selftest's jails
	signals := sandbox.CatchSignals()
	// net/http's Transport quotes servers through the standard logger and offers no other way: an allowed host must not write to
	// the user's terminal.
	log.SetOutput(io.Discard)
	code, interrupt := run(context.Background(), os.Args, sandbox.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, signals)
	if interrupt.Signal != 0 && interactive() {
		die(interrupt)
	}
	os.Exit(code)
}
