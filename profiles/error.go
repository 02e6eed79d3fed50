package profiles

import (
	"fmt"
	"strings"
	"unicode"
)

// Error is a wish that cannot be granted as it was made. cmd prints Err after "agentjail: error:" and Hint after
// "agentjail: hint:". Text that came from a file is already printable in both.
type Error struct {
	Step string // "profile", "project", "trust", "bundle"
	Err  error  // the act and its object; a syntax error shows the file, the line and the column, and the line itself
	Hint string // what the user can do; may be empty
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// WishError is a value that no profile may hold. Why is where it was made.
type WishError struct {
	Why string
	Err error
}

func (e *WishError) Error() string { return e.Why + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *WishError) Unwrap() error { return e.Err }

func profileError(hint, format string, args ...any) error {
	return &Error{Step: "profile", Err: fmt.Errorf(format, args...), Hint: hint}
}

// printable gives s with everything escaped that a terminal may act on: control bytes, and the bidirectional and other format
// characters that make a line read differently from what it says (CVE-2021-42574). The project's file is written by the agent.
func printable(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], string(unicode.ReplacementChar)):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
