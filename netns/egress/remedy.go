package egress

import "fmt"

// Remedy is what the user can say so that next time it is allowed, a line each: a flag, or a rule where no flag would do. It is nil when
// neither would, or when the name is none.
func (d DenialCount) Remedy() []string {
	if _, bad := Canonical(d.Host); bad != "" {
		return nil
	}
	switch d.Reason {
	case NotAllowed, Port:
		if d.Port == 0 {
			return []string{"to allow it: --allow " + d.Host}
		}
		return []string{fmt.Sprintf("to allow it: --allow %s:%d", d.Host, d.Port)}
	case NonPublic:
		return []string{"to allow it, put this into a profile:", "[[net.rule]]", fmt.Sprintf("host = %q", d.Host), fmt.Sprintf("ports = [%d]", d.Port),
			"private = true"}
	}
	return nil
}
