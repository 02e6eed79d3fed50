package sandbox

// Error is a step of a launch that did not happen. cmd prints Step and Err after "agentjail: error:" and Hint after
// "agentjail: hint:"; the report has all three.
type Error struct {
	Step string // one of the Step constants
	Err  error  // the act and its object: "mount /proc: operation not permitted"
	Hint string // what the user can do, one paste where possible
}

func (e *Error) Error() string { return e.Step + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }
