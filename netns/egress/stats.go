package egress

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	maxRows  = 1000        // of each list of the report
	maxText  = 256         // bytes of one string of an event
	others   = "*"         // the host of the rows that sum what did not fit
	nameless = "(no name)" // the host of what named none
)

// place is one host and port.
type place struct {
	host string
	port uint16
}

// refused is one row of what was refused.
type refused struct {
	place
	reason Reason
}

// ledger writes down what the door did: each event goes to the sink, and counts are kept for the report. The jail can name hosts
// without end and of any length, so both are bounded: a string of an event has at most 256 bytes, and beyond 1000 rows of a list
// the rest is summed under the host "*". It is safe for concurrent use.
type ledger struct {
	sink func(Event) // nil: nobody listens

	mu      sync.Mutex
	allowed map[place]*HostCount
	denied  map[refused]int64
	secrets map[string]*SecretCount
}

func newLedger(sink func(Event)) *ledger {
	return &ledger{sink: sink, allowed: map[place]*HostCount{}, denied: map[refused]int64{}, secrets: map[string]*SecretCount{}}
}

// emit stamps, bounds and counts one event and hands it on.
func (l *ledger) emit(e Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	for _, s := range []*string{&e.Host, &e.Addr, &e.Detail, &e.Method, &e.Path} {
		*s = bounded(*s)
	}
	l.count(e)
	if l.sink != nil {
		l.sink(e)
	}
}

// bounded gives at most maxText bytes of s, in memory of its own: a short piece must not keep a long header alive.
func bounded(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.Clone(s[:maxText])
}

func (l *ledger) count(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := place{e.Host, e.Port}
	switch e.Kind {
	case "net.open":
		l.row(at).Connections++
	case "net.close":
		row := l.row(at)
		row.Up += e.Up
		row.Down += e.Down
	case "secret.use":
		l.secret(e.Secret).Uses++
	case "secret.foreign":
		l.secret(e.Secret).Foreign++
	case "net.deny", "dns.deny", "http.deny":
		if at.host == "" {
			at.host = nameless
		}
		key := refused{at, e.Reason}
		if _, ok := l.denied[key]; !ok && len(l.denied) >= maxRows {
			key.place = place{host: others}
		}
		l.denied[key]++
	}
}

// secret gives the count of a secret. There are as many as the policy has.
func (l *ledger) secret(name string) *SecretCount {
	if l.secrets[name] == nil {
		l.secrets[name] = &SecretCount{Name: name}
	}
	return l.secrets[name]
}

// secretReport gives a copy of the counts, sorted by name.
func (l *ledger) secretReport() []SecretCount {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]SecretCount, 0, len(l.secrets))
	for _, c := range l.secrets {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b SecretCount) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// row gives the row of what went to at. The row "*" is beside the thousand: net.close finds the row of its net.open in either case.
func (l *ledger) row(at place) *HostCount {
	if row, ok := l.allowed[at]; ok {
		return row
	}
	if len(l.allowed) >= maxRows {
		at = place{host: others}
		if row, ok := l.allowed[at]; ok {
			return row
		}
	}
	row := &HostCount{Host: at.host, Port: at.port}
	l.allowed[at] = row
	return row
}

// report gives copies of the two lists, sorted by host, port and reason. A name that was refused when it was looked up (port 0) and
// again when it was connected to has one row, that of the connection.
func (l *ledger) report() ([]HostCount, []DenialCount) {
	l.mu.Lock()
	defer l.mu.Unlock()
	allowed := make([]HostCount, 0, len(l.allowed))
	for _, row := range l.allowed {
		allowed = append(allowed, *row)
	}
	slices.SortFunc(allowed, func(a, b HostCount) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port))
	})
	denied := make([]DenialCount, 0, len(l.denied))
	connected := map[refused]bool{}
	for key := range l.denied {
		if key.port != 0 {
			connected[refused{place{host: key.host}, key.reason}] = true
		}
	}
	for key, n := range l.denied {
		if key.port == 0 && key.host != others && connected[key] {
			continue
		}
		denied = append(denied, DenialCount{Host: key.host, Port: key.port, Reason: key.reason, Count: n})
	}
	slices.SortFunc(denied, func(a, b DenialCount) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Reason, b.Reason))
	})
	return allowed, denied
}
