package selftest

// The results of an attempt.
const (
	Stopped      = "stopped"      // it failed, and its control succeeded
	Escaped      = "escaped"      // it succeeded
	Inconclusive = "inconclusive" // its control failed, or it was not tried to the end
	Absent       = "absent"       // nobody gets there: the machine does not have it, or has it for its root alone
)

// Report is what `selftest --json` prints, version 1.
type Report struct {
	Version      int       `json:"version"`
	Attempts     []Attempt `json:"attempts"` // in the order of the catalogue
	Stopped      int       `json:"stopped"`
	Escaped      int       `json:"escaped"`
	Inconclusive int       `json:"inconclusive"`
	Absent       int       `json:"absent,omitempty"`
}

// Attempt is one attempt and what came of it.
type Attempt struct {
	Name    string `json:"name"`
	Area    string `json:"area"`
	Result  string `json:"result"`
	Control string `json:"control"` // where it ran, and "succeeded" or why not
	Detail  string `json:"detail"`  // how the attempt was answered, or what it would have won

	Why string `json:"-"` // what success is worth
}

// Holds says whether every attempt was stopped that somebody could make here.
func (r *Report) Holds() bool { return r.Stopped+r.Absent == len(r.Attempts) && r.Stopped > 0 }

// Area is the sum of one area.
type Area struct {
	Area                                   string
	Stopped, Escaped, Inconclusive, Absent int
}

// Areas sums the report up, in the order of the catalogue.
func (r *Report) Areas() []Area {
	var sums []Area
	for _, a := range r.Attempts {
		if len(sums) == 0 || sums[len(sums)-1].Area != a.Area {
			sums = append(sums, Area{Area: a.Area})
		}
		s := &sums[len(sums)-1]
		*map[string]*int{Stopped: &s.Stopped, Escaped: &s.Escaped, Inconclusive: &s.Inconclusive, Absent: &s.Absent}[a.Result]++
	}
	return sums
}

// judge puts the answers together: those of the jail, by name, and those of the controls.
func judge(all []attempt, jail, controls map[string]line) *Report {
	r := &Report{Version: 1, Attempts: []Attempt{}}
	for _, a := range all {
		one := Attempt{Name: a.name, Area: a.area, Why: a.why, Control: a.control + ": "}
		tried, answered := jail[a.name]
		control, controlled := controls[a.name]
		switch {
		case !controlled:
			one.Control += "no answer"
		case control.Done:
			one.Control += "succeeded"
		default:
			one.Control += control.Error
		}
		one.Detail = tried.Error
		switch {
		case tried.Done: // whatever the control says
			one.Result, one.Detail = Escaped, "won: "+a.why
			if tried.Error != "" {
				one.Detail += ": " + tried.Error
			}
			r.Escaped++
		case a.optional && answered && !tried.Unready && controlled && !control.Done && !control.Unready:
			one.Result = Absent
			r.Absent++
		case !answered || tried.Unready || !control.Done:
			one.Result = Inconclusive
			if !answered {
				one.Detail = "no answer"
			}
			r.Inconclusive++
		default:
			one.Result = Stopped
			r.Stopped++
		}
		r.Attempts = append(r.Attempts, one)
	}
	return r
}
