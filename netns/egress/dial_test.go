package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func ips(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// record is a DialFunc that dials nothing abroad: it writes down where to, and gives a connection to a sink on loopback unless the
// address is in down.
type record struct {
	sink   string
	down   []string
	dialed []string
}

func (r *record) dial(ctx context.Context, addr netip.AddrPort, check func(netip.Addr) error) (net.Conn, error) {
	r.dialed = append(r.dialed, addr.String())
	if slices.Contains(r.down, addr.Addr().String()) {
		return nil, errors.New("connection refused")
	}
	if check != nil {
		if err := check(addr.Addr()); err != nil {
			return nil, fmt.Errorf("dial: %w", err)
		}
	}
	return new(net.Dialer).DialContext(ctx, "tcp", r.sink)
}

func TestReach(t *testing.T) {
	sink := listen(t, "127.0.0.1:0").Addr().String()
	own := func() ([]netip.Addr, error) { return ips("93.184.216.1"), nil }
	for _, tc := range []struct {
		name   string
		rule   Rule
		found  []netip.Addr
		down   []string
		dialed []string
		reason Reason
	}{
		{name: "public", found: ips("93.184.216.34"), dialed: []string{"93.184.216.34:443"}},
		{name: "IPv4 first", found: ips("2606:2800::1", "93.184.216.34"), dialed: []string{"93.184.216.34:443"}},
		{name: "the next when one is down", found: ips("93.184.216.34", "93.184.216.35"), down: []string{"93.184.216.34"},
			dialed: []string{"93.184.216.34:443", "93.184.216.35:443"}},
		{name: "mapped", found: ips("::ffff:93.184.216.34"), dialed: []string{"93.184.216.34:443"}},
		{name: "all down", found: ips("93.184.216.34", "2606:2800::1"), down: []string{"93.184.216.34", "2606:2800::1"},
			dialed: []string{"93.184.216.34:443", "[2606:2800::1]:443"}, reason: Dial},
		{name: "loopback", found: ips("127.0.0.1"), reason: NonPublic},
		{name: "loopback, mapped", found: ips("::ffff:127.0.0.1"), reason: NonPublic},
		{name: "private", found: ips("10.0.0.1", "192.168.1.1", "fd00::1"), reason: NonPublic},
		{name: "metadata", found: ips("169.254.169.254"), reason: NonPublic},
		{name: "unspecified", found: ips("0.0.0.0"), reason: NonPublic},
		{name: "own", found: ips("93.184.216.1"), reason: NonPublic},
		{name: "mixed: only the public one", found: ips("10.0.0.1", "93.184.216.34"), dialed: []string{"93.184.216.34:443"}},
		{name: "mixed: never the private one", found: ips("93.184.216.34", "10.0.0.1"), down: []string{"93.184.216.34"},
			dialed: []string{"93.184.216.34:443"}, reason: Dial},
		{name: "no address", found: []netip.Addr{}, reason: Resolve},
		{name: "no such host", reason: Resolve},
		{name: "rule with private", rule: Rule{Private: true}, found: ips("10.0.0.1"), dialed: []string{"10.0.0.1:443"}},
		{name: "metadata with private", rule: Rule{Private: true}, found: ips("169.254.169.254"), reason: NonPublic},
		{name: "rule with connect", rule: Rule{Connect: "127.0.0.1:9443"}, dialed: []string{"127.0.0.1:9443"}},
		{name: "many", found: ips(strings.Fields(strings.Repeat("93.184.216.34 ", 100))...), down: []string{"93.184.216.34"},
			dialed: slices.Repeat([]string{"93.184.216.34:443"}, maxTries), reason: Dial},
	} {
		t.Run(tc.name, func(t *testing.T) {
			names := answers{}
			if tc.found != nil {
				names["a.example.com."] = [][]netip.Addr{tc.found} // with the dot: no search domain
			}
			r := &record{sink: sink, down: tc.down}
			d := &dialer{resolver: names, dial: r.dial, guard: Guard{Own: own}, resolve: time.Second, connect: time.Second}
			c, err := d.reach(context.Background(), target{"a.example.com", 443, &tc.rule})
			var reason Reason
			if why := new(refusal); errors.As(err, &why) {
				reason = why.reason
			} else if err != nil {
				t.Fatal(err)
			} else {
				c.Close()
			}
			if reason != tc.reason || !slices.Equal(r.dialed, tc.dialed) {
				t.Errorf("reason %q, dialled %q; want %q, %q", reason, r.dialed, tc.reason, tc.dialed)
			}
		})
	}
}

// TestRebinding: the name resolves to another address each time it is asked for. It is asked for once a connection, and what was
// judged is what is dialled.
func TestRebinding(t *testing.T) {
	r := &record{sink: listen(t, "127.0.0.1:0").Addr().String()}
	names := answers{"a.example.com.": {ips("93.184.216.34"), ips("127.0.0.1"), ips("93.184.216.35")}}
	d := &dialer{resolver: names, dial: r.dial, resolve: time.Second, connect: time.Second}
	for i, want := range []string{"", string(NonPublic), ""} {
		c, err := d.reach(context.Background(), target{"a.example.com", 80, &Rule{}})
		if err == nil {
			c.Close()
		}
		if why := new(refusal); errors.As(err, &why) != (want != "") || want != "" && string(why.reason) != want {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	if want := []string{"93.184.216.34:80", "93.184.216.35:80"}; !slices.Equal(r.dialed, want) {
		t.Errorf("dialled %q, want %q", r.dialed, want)
	}
}

// TestDialTCPChecksTheSocket: the check sees the address that connect(2) is about to get, and its error is what comes back.
func TestDialTCPChecksTheSocket(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	to := netip.MustParseAddrPort(l.Addr().String())
	if c, err := DialTCP(context.Background(), to, nil); err != nil {
		t.Errorf("control: %v", err)
	} else {
		c.Close()
	}
	if _, err := DialTCP(context.Background(), to, Guard{}.Check); !errors.Is(err, ErrNonPublic) {
		t.Errorf("with the guard: %v, want %v", err, ErrNonPublic)
	}
	// An interface gets the address between the first check and the second.
	asked := 0
	own := func() ([]netip.Addr, error) {
		if asked++; asked > 1 {
			return ips("93.184.216.34"), nil
		}
		return nil, nil
	}
	r := &record{sink: l.Addr().String()}
	d := &dialer{resolver: answers{"a.example.com.": {ips("93.184.216.34")}}, dial: r.dial, guard: Guard{Own: own}, resolve: time.Second, connect: time.Second}
	var why *refusal
	if _, err := d.reach(context.Background(), target{"a.example.com", 80, &Rule{}}); !errors.As(err, &why) || why.reason != NonPublic {
		t.Errorf("address became the host's own: %v", err)
	}
}

func TestReachEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	hang := func(ctx context.Context, _ netip.AddrPort, _ func(netip.Addr) error) (net.Conn, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	d := &dialer{resolver: answers{}, dial: hang, resolve: time.Hour, connect: time.Hour}
	if _, err := d.reach(ctx, target{"a.example.com", 80, &Rule{Connect: "127.0.0.1:1"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want canceled", err)
	}
}

// TestReachSharesItsTime: an address that swallows packets leaves the next one its turn.
func TestReachSharesItsTime(t *testing.T) {
	sink := listen(t, "127.0.0.1:0").Addr().String()
	swallow := func(ctx context.Context, to netip.AddrPort, _ func(netip.Addr) error) (net.Conn, error) {
		if to.Addr() == netip.MustParseAddr("93.184.216.34") {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return new(net.Dialer).DialContext(ctx, "tcp", sink)
	}
	d := &dialer{resolver: answers{"a.example.com.": {ips("93.184.216.34", "93.184.216.35")}}, dial: swallow, resolve: time.Second, connect: 200 * time.Millisecond}
	c, err := d.reach(context.Background(), target{"a.example.com", 80, &Rule{}})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
