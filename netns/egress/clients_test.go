package egress

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// client runs a program that people have in their jails; env is all that it gets.
func client(t *testing.T, env []string, name string, args ...string) (out string, ok bool) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed; make test installs it", name)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(env, "PATH="+os.Getenv("PATH"))
	b, err := cmd.CombinedOutput()
	return string(b), err == nil
}

// caFile is the session's certificate as the jail has it.
func (j *jail) caFile() string {
	j.t.Helper()
	name := filepath.Join(j.t.TempDir(), "ca.pem")
	if err := os.WriteFile(name, j.ca.PEM(), 0o600); err != nil {
		j.t.Fatal(err)
	}
	return name
}

func TestCurl(t *testing.T) {
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Up", r.Proto)
		fmt.Fprintf(w, "%s %d bytes", r.Method, len(body))
	}, func(r *Rule) { r.Methods, r.MaxRequest = []string{"GET", "PUT"}, 3<<20 })
	ca := j.caFile()
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	huge := filepath.Join(t.TempDir(), "huge")
	if err := os.WriteFile(huge, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	curl := func(args ...string) (string, bool) {
		t.Helper()
		args = append([]string{
			"-sS", "--max-time", "20", "-w", " %{http_code} %{http_version}",
			"--connect-to", fmt.Sprintf("good.example.com:443:%s:%s", j.addr("good.example.com"), j.ports[443]),
		}, args...)
		return client(t, nil, "curl", append(args, "https://good.example.com/x")...)
	}
	for flag, version := range map[string]string{"--http1.1": "1.1", "--http2": "2"} {
		streamed := []string{"-X", "PUT", "--data-binary", "@" + big}
		if version == "1.1" {
			streamed = append(streamed, "-H", "Transfer-Encoding: chunked")
		}
		for _, tc := range []struct {
			want string
			args []string
		}{
			{"GET 0 bytes 200 " + version, nil},
			{"PUT 2097152 bytes 200 " + version, []string{"-T", big}}, // with Expect: 100-continue in HTTP/1.1
			{"PUT 2097152 bytes 200 " + version, streamed},
			{"reason:  method", []string{"-X", "DELETE"}},
			{`"reason":"method"`, []string{"-X", "DELETE", "-H", "Accept: application/json"}},
			{"413 " + version, []string{"-T", huge}},
		} {
			if out, _ := curl(append([]string{flag, "--cacert", ca}, tc.args...)...); !strings.Contains(out, tc.want) {
				t.Errorf("curl %s %v: %s; want %s", flag, tc.args, out, tc.want)
			}
		}
	}
	if out, ok := curl(); ok { // it knows the machine's roots alone
		t.Errorf("without the session's CA: %s", out)
	}
	if e := j.waitDeny(ClientTrust); e.Kind != "net.deny" || !strings.Contains(e.Detail, "unknown certificate authority") {
		t.Errorf("event: %+v", e)
	}
	if out, ok := curl("--cacert", ca, "--pinnedpubkey", "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="); ok {
		t.Errorf("with a pin: %s", out)
	}
}

const nodeScript = `
const [addr, port, ca, version] = process.argv.slice(1);
const tls = require('tls'), fs = require('fs');
const options = {host: addr, port: +port, servername: 'good.example.com', ...(ca && {ca: fs.readFileSync(ca)})};
const fail = e => { console.log('error ' + e.code); process.exit(1); };
if (version === '1') {
  const req = require('https').request({...options, method: 'POST', path: '/x', headers: {host: 'good.example.com'}}, res => {
    let body = ''; res.on('data', d => body += d).on('end', () => console.log(res.statusCode + ' ' + body));
  });
  req.on('error', fail); req.end('hello');
} else {
  const c = require('http2').connect('https://good.example.com', {createConnection: () => tls.connect({...options, ALPNProtocols: ['h2']})});
  c.on('error', fail);
  const s = c.request({':method': 'POST', ':path': '/x'});
  let status, body = '';
  s.on('response', h => status = h[':status']).on('data', d => body += d).on('error', fail).on('end', () => { console.log(status + ' ' + body); c.close(); });
  s.end('hello');
}`

func TestNode(t *testing.T) {
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.Method, body)
	}, nil)
	for _, version := range []string{"1", "2"} {
		node := func(ca string) (string, bool) {
			return client(t, nil, "node", "-e", nodeScript, "--", j.addr("good.example.com").String(), j.ports[443], ca, version)
		}
		if out, ok := node(""); ok || !strings.Contains(out, "error") {
			t.Errorf("HTTP/%s without the session's CA: %s", version, out)
		}
		if out, ok := node(j.caFile()); !ok || strings.TrimSpace(out) != "200 POST hello" {
			t.Errorf("HTTP/%s: %s", version, out)
		}
	}
}

// TestNodeIsTold: node looks at the certificate when the handshake is over, and says nothing to the door.
func TestNodeIsTold(t *testing.T) {
	j := inspectJail(t, func(w http.ResponseWriter, r *http.Request) {}, nil)
	if out, ok := client(t, nil, "node", "-e", nodeScript, "--", j.addr("good.example.com").String(), j.ports[443], "", "1"); ok {
		t.Errorf("without the session's CA: %s", out)
	}
	j.door.Close()
	if e := j.waitDeny(ClientTrust); e.Host != "good.example.com" {
		t.Errorf("event: %+v", e)
	}
}
