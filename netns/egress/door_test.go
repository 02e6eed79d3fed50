package egress

import (
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDoorExplains(t *testing.T) {
	addr := backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "real") })
	saddr, sca := tlsBackend(t, "good.example.com", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "real "+r.Proto) })
	j := newJail(t, []Rule{
		{Host: "good.example.com", Ports: []uint16{80}, Connect: addr, Why: "test"},
		{Host: "good.example.com", Ports: []uint16{443}, Connect: saddr, Why: "test"},
		{Host: "tls.example.com", Ports: []uint16{443}, Connect: saddr, Why: "test"},
	}, nil)
	c := j.client(sca)

	if res, body := get(t, c, "http://good.example.com/x"); res.StatusCode != 200 || body != "real" {
		t.Errorf("control, http: %s %q", res.Status, body)
	}
	if res, body := get(t, c, "https://good.example.com/x"); res.StatusCode != 200 || body != "real HTTP/2.0" {
		t.Errorf("control, https: %s %q", res.Status, body)
	}
	for _, tc := range []struct {
		url, where string
		reason     Reason
	}{
		{"http://evil.example.com/x", "evil.example.com:80", NotAllowed},
		{"https://evil.example.com/x", "evil.example.com:443", NotAllowed},
		{"http://tls.example.com/x", "tls.example.com:80", Port},
	} {
		res, body := get(t, c, tc.url)
		wantReason(t, res, 403, tc.reason)
		if !strings.Contains(body, "agentjail --allow "+tc.where+" ") || !strings.Contains(body, `"test"`) {
			t.Errorf("%s: body does not name flag and profile: %s", tc.url, body)
		}
		res, body = get(t, c, tc.url, "Accept", "application/json")
		wantReason(t, res, 403, tc.reason)
		if !strings.Contains(body, `"allow":"--allow `+tc.where+`"`) || !strings.Contains(body, `"reason":"`+string(tc.reason)+`"`) {
			t.Errorf("%s: JSON body: %s", tc.url, body)
		}
		host, _, _ := strings.Cut(tc.where, ":")
		j.wait("deny of "+tc.where, func(e Event) bool { return e.Kind == "net.deny" && e.Host == host && e.Reason == tc.reason })
	}
	if res, _ := get(t, c, "https://evil.example.com/"); res.ProtoMajor != 2 {
		t.Errorf("explanation over %s; want HTTP/2 for a client that offers it", res.Proto)
	}
}

func TestDoorNamesNoHost(t *testing.T) {
	j := newJail(t, []Rule{{Host: "db.example.com", Ports: []uint16{5432}, Connect: "127.0.0.1:1", Why: "test"}, {Host: "other.example.com", Ports: []uint16{22}, Connect: "127.0.0.1:1", Why: "test"}}, nil)
	t.Run("address without a name", func(t *testing.T) {
		j.wantReset(netip.MustParseAddr("127.18.77.77"), 80)
		if e := j.waitDeny(BadAddress); e.Addr != "127.18.77.77:80" {
			t.Errorf("event: %+v", e)
		}
	})
	t.Run("gateway on a port of the web", func(t *testing.T) { j.wantReset(testGateway, 80) })
	t.Run("port of another rule", func(t *testing.T) {
		j.wantReset(j.addr("db.example.com"), 22)
		if e := j.waitDeny(Port); e.Host != "db.example.com" || e.Port != 22 {
			t.Errorf("event: %+v", e)
		}
	})
	t.Run("silent client at the explaining address", func(t *testing.T) { j.wantReset(testExplain, 22) })
	t.Run("neither HTTP nor TLS at the explaining address", func(t *testing.T) {
		c := j.dialAddr(testExplain, 443)
		io.WriteString(c, "SSH-2.0-x\r\n")
		wantReset(t, c)
	})
}

func TestDoorWithoutExplanations(t *testing.T) {
	j := newJail(t, nil, func(c *Config) { c.Policy.Explain = false })
	j.wantReset(testExplain, 80)
	j.waitDeny(BadAddress)
}

func TestPorts(t *testing.T) {
	j := newJail(t, []Rule{{Host: "a.example.com", Ports: []uint16{22, 3128, 80}, Why: "test"}}, nil)
	if got, want := j.door.Ports(), []uint16{22, 53, 80, 443, 3128}; !slices.Equal(got, want) {
		t.Errorf("ports %v, want %v", got, want)
	}
}

func TestNewRefuses(t *testing.T) {
	ca, err := NewCA(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	good := Config{Policy: &Policy{}, CA: ca, Gateway: testGateway, Explain: testExplain, Range: testRange}
	if d, err := New(good); err != nil {
		t.Errorf("control: %v", err)
	} else {
		d.Close()
	}
	for name, spoil := range map[string]func(*Config){
		"no CA":          func(c *Config) { c.CA = nil },
		"gateway abroad": func(c *Config) { c.Gateway = netip.MustParseAddr("10.0.0.1") },
		"explain abroad": func(c *Config) { c.Explain = netip.Addr{} },
		"bad rule":       func(c *Config) { c.Policy = &Policy{Allow: []Rule{{Host: "*", Ports: []uint16{80}}}} },
	} {
		c := good
		if spoil(&c); func() error { _, err := New(c); return err }() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
