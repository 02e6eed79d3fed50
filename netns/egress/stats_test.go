package egress

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLedgerCounts(t *testing.T) {
	var seen []Event
	l := newLedger(func(e Event) { seen = append(seen, e) })
	for _, e := range []Event{
		{Kind: "net.open", Host: "b", Port: 443},
		{Kind: "net.open", Host: "a", Port: 443},
		{Kind: "net.close", Host: "a", Port: 443, Up: 1, Down: 2},
		{Kind: "net.open", Host: "a", Port: 443},
		{Kind: "net.close", Host: "a", Port: 443, Up: 10, Down: 20},
		{Kind: "net.open", Host: "a", Port: 22},
		{Kind: "http.request", Host: "a", Port: 80},
		{Kind: "net.deny", Host: "x", Port: 443, Reason: NotAllowed},
		{Kind: "http.deny", Host: "x", Port: 443, Reason: NotAllowed},
		{Kind: "net.deny", Host: "x", Port: 443, Reason: NoSNI},
		{Kind: "dns.deny", Host: "x", Reason: NotAllowed},
		{Kind: "dns.deny", Host: "y", Reason: NotAllowed},
		{Kind: "net.deny", Port: 3128, Reason: BadRequest},
	} {
		l.emit(e)
	}
	allowed, denied := l.report()
	if diff := cmp.Diff([]HostCount{{"a", 22, 1, 0, 0}, {"a", 443, 2, 11, 22}, {"b", 443, 1, 0, 0}}, allowed); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]DenialCount{{"(no name)", 3128, BadRequest, 1}, {"x", 443, NoSNI, 1}, {"x", 443, NotAllowed, 2}, {"y", 0, NotAllowed, 1}}, denied); diff != "" {
		t.Error(diff)
	}
	if len(seen) != 13 || seen[0].Time.IsZero() {
		t.Errorf("%d events handed on, the first at %v", len(seen), seen[0].Time)
	}
}

// TestLedgerKeepsTheRest: the row of what did not fit has no port, and no other row swallows it.
func TestLedgerKeepsTheRest(t *testing.T) {
	l := newLedger(nil)
	l.emit(Event{Kind: "http.deny", Host: others, Port: 80, Reason: BadName})
	l.count(Event{Kind: "dns.deny", Host: others, Reason: BadName})
	_, denied := l.report()
	if diff := cmp.Diff([]DenialCount{{others, 0, BadName, 1}, {others, 80, BadName, 1}}, denied); diff != "" {
		t.Error(diff)
	}
}

// TestLedgerIsBounded: hosts without end and of any length cost a fixed amount, and no count is lost.
func TestLedgerIsBounded(t *testing.T) {
	longest := 0
	l := newLedger(func(e Event) {
		longest = max(longest, len(e.Host), len(e.Path), len(e.Method), len(e.Detail), len(e.Addr))
	})
	long := strings.Repeat("x", 4096)
	const n = 3 * maxRows
	for i := range n {
		host := fmt.Sprintf("%d.%s", i, long)
		l.emit(Event{Kind: "net.deny", Host: host, Reason: NotAllowed, Path: long, Method: long, Detail: long, Addr: long})
		l.emit(Event{Kind: "net.open", Host: host})
		l.emit(Event{Kind: "net.close", Host: host, Up: 1})
	}
	allowed, denied := l.report()
	if longest != maxText || len(allowed) != maxRows+1 || len(denied) != maxRows+1 {
		t.Errorf("longest text %d, %d allowed, %d denied", longest, len(allowed), len(denied))
	}
	var up, refused int64
	for _, a := range allowed {
		up += a.Up
		if a.Connections != a.Up {
			t.Errorf("%.20s: %d connections and %d bytes: bytes went to another row", a.Host, a.Connections, a.Up)
		}
	}
	for _, d := range denied {
		refused += d.Count
	}
	if up != n || refused != n {
		t.Errorf("sums %d and %d, want %d", up, refused, n)
	}
}
