package egress

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestCA(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ca, err := NewCA(now)
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewCA(now)
	if err != nil {
		t.Fatal(err)
	}
	ca.now = func() time.Time { return now }
	block, rest := pem.Decode(ca.PEM())
	if block == nil || block.Type != "CERTIFICATE" || len(rest) > 0 || strings.Contains(string(ca.PEM()), "PRIVATE") {
		t.Fatalf("PEM is not one certificate: %s", ca.PEM())
	}
	long := strings.Repeat("a23456789.", 9) + "example.com" // no room for it in a common name
	for _, host := range []string{"a.example.com", long} {
		leaf, err := ca.Leaf(host)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := ca.Leaf(host); again != leaf {
			t.Errorf("%s: made anew", host)
		}
		for _, tc := range []struct {
			name string
			ca   *CA
			host string
			at   time.Time
			ok   bool
		}{
			{"control", ca, host, now, true},
			{"in 23 hours", ca, host, now.Add(23 * time.Hour), true},
			{"in 25 hours", ca, host, now.Add(25 * time.Hour), false},
			{"another host", ca, "b.example.com", now, false},
			{"below the host", ca, "x." + host, now, false},
			{"another session", other, host, now, false},
		} {
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(tc.ca.PEM())
			_, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: tc.host, Roots: pool, CurrentTime: tc.at})
			if (err == nil) != tc.ok {
				t.Errorf("%s, %s: %v", host, tc.name, err)
			}
		}
	}
	// A leaf signs nothing, and nothing below the CA may sign either.
	if leaf, _ := ca.Leaf("a.example.com"); leaf.Leaf.IsCA || !ca.cert.MaxPathLenZero || ca.cert.KeyUsage != x509.KeyUsageCertSign {
		t.Error("more rights than needed")
	}
}

// TestClockJumps: the clock of the machine is set, forward or back, or the session outlives its first leaf. The next connection gets a leaf
// that is valid by the new time, under the certificate that the jail has had from the start.
func TestClockJumps(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	ca, err := NewCA(start)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM())
	valid := func(leaf *tls.Certificate, at time.Time) error {
		_, err := leaf.Leaf.Verify(x509.VerifyOptions{DNSName: "a.example.com", Roots: pool, CurrentTime: at})
		return err
	}
	var first *tls.Certificate
	for _, jump := range []time.Duration{0, time.Hour, 22 * time.Hour, 30 * time.Hour, 40 * 24 * time.Hour, -24 * time.Hour, 0, 10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
		now := start.Add(jump)
		ca.now = func() time.Time { return now }
		leaf, err := ca.Leaf("a.example.com")
		if err != nil {
			t.Fatal(err)
		}
		for _, later := range []time.Duration{-30 * time.Minute, 0, 50 * time.Minute} { // a client's clock may differ, and a handshake takes a while
			if err := valid(leaf, now.Add(later)); err != nil {
				t.Errorf("%v after the start, %v later: %v", jump, later, err)
			}
		}
		switch {
		case first == nil:
			first = leaf
		case jump > 0 && jump < 23*time.Hour && leaf != first:
			t.Errorf("%v after the start: made anew", jump)
		case jump == 30*time.Hour && valid(first, now) == nil: // the control
			t.Error("the first leaf is valid for ever")
		}
	}
	if len(ca.leaves) != 1 || len(ca.order) != 1 {
		t.Errorf("%d leaves, %d in order", len(ca.leaves), len(ca.order))
	}
	// A machine without a clock of its own starts at 1970, and learns the time later.
	if ca, err = NewCA(time.Unix(100, 0)); err != nil {
		t.Fatal(err)
	}
	ca.now = func() time.Time { return start }
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.PEM())
	if leaf, err := ca.Leaf("a.example.com"); err != nil || valid(leaf, start) != nil {
		t.Errorf("started in 1970: %v, %v", err, valid(leaf, start))
	}
}

func TestLeavesAreBounded(t *testing.T) {
	ca, err := NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for k := range maxLeaves {
				if _, err := ca.Leaf(fmt.Sprintf("h%d.example.com", (i*maxLeaves/2)+k)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if len(ca.leaves) != maxLeaves || len(ca.order) != maxLeaves {
		t.Errorf("%d leaves, %d in order; want %d", len(ca.leaves), len(ca.order), maxLeaves)
	}
}

func BenchmarkNewCA(b *testing.B) {
	for b.Loop() {
		if _, err := NewCA(time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
