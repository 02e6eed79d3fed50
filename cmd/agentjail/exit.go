package main

// Exit statuses, as docker run(1), env(1) and timeout(1) use them. The command's own status passes through unchanged.
const (
	exitOK       = 0
	exitEscaped  = 1   // selftest: an attempt was not stopped
	exitTimeout  = 124 // the wall-time limit ended the run
	exitFailed   = 125 // agentjail itself failed, refused, or ended the run; every usage error
	exitNoExec   = 126 // the command was found and cannot be executed
	exitNotFound = 127 // the command was not found
	exitSignal   = 128 // plus n: the command was killed by signal n
)
