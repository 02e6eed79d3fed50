package egress

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestDoorServesDNS: over UDP and over TCP the name gets the address that the door then knows it by.
func TestDoorServesDNS(t *testing.T) {
	j := newJail(t, []Rule{{Host: "good.example.com", Ports: []uint16{80}, Connect: "127.0.0.1:1", Why: "test"}}, nil)
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := j.door.ServeDNS(context.Background(), udp); err != nil {
			t.Error(err)
		}
	}()
	for name, dial := range map[string]func(context.Context) (net.Conn, error){
		"UDP": func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "udp4", udp.LocalAddr().String())
		},
		"TCP": func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp4", net.JoinHostPort(testGateway.String(), j.ports[dnsPort]))
		},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) }}
		for host, want := range map[string]netip.Addr{"good.example.com.": j.addr("good.example.com"), "evil.example.com.": testExplain} {
			if got, err := r.LookupNetIP(ctx, "ip4", host); err != nil || !slices.Equal(got, []netip.Addr{want}) {
				t.Errorf("%s, %s: %v, %v; want %v", name, host, got, err, want)
			}
		}
	}
}
