package egress

import (
	"io"
	"net/http"
	"strings"
)

// refusedPush refuses a push in git's own words: git shows nothing of a 403 to a POST but the number, while it prints the report of a server
// that took no ref ("! [remote rejected] main -> main (why)"), and what stands in band 2 behind "remote:". So the answer is a 200, as a server's that
// refuses refs is (gitprotocol-pack(5), "Report Status"). The event is a denial like any other.
func refusedPush(t target, p *pushRequest, why []string) *refusal {
	var details []string
	for i, c := range p.commands {
		if why[i] != "" {
			details = append(details, c.ref+": "+why[i])
		}
	}
	r := t.refuse(GitPush, bounded(strings.Join(details, "; ")), "")
	r.fix = "commit here; push from outside the jail after review"
	r.say = func(w http.ResponseWriter, req *http.Request, message string) {
		// A client that is still sending would see a reset connection instead of the answer.
		_, _ = io.CopyN(io.Discard, req.Body, maxDrained)
		w.Header().Set("Content-Type", "application/x-git-receive-pack-result")
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, report(p, why, message))
	}
	return r
}

// maxDrained is how much of a refused pack is read, in bytes.
const maxDrained = 256 << 20

// report gives the answer of a server that took none of the refs.
func report(p *pushRequest, why []string, message string) string {
	var lines strings.Builder
	if p.can("report-status") || p.can("report-status-v2") {
		lines.WriteString(pktLine("unpack ok\n"))
		for i, c := range p.commands {
			text := why[i]
			if text == "" {
				text = "refused with the others"
			}
			lines.WriteString(pktLine("ng " + c.ref + " agentjail: " + text + "\n"))
		}
		lines.WriteString("0000")
	}
	if !p.can("side-band-64k") && !p.can("side-band") {
		return lines.String()
	}
	size := 65000 // 65520 with length and band
	if !p.can("side-band-64k") {
		size = 990
	}
	var out strings.Builder
	out.WriteString(pktLine("\x02" + message[:min(len(message), 900)] + "\n"))
	for rest := lines.String(); rest != ""; {
		n := min(len(rest), size)
		out.WriteString(pktLine("\x01" + rest[:n]))
		rest = rest[n:]
	}
	return out.String() + "0000"
}

// answered reads along in the server's answer to a push, to remember the refs that it has made.
func (p *pushed) answered(res *http.Response) {
	if plain, _ := plainEncoding(res.Header); p == nil || !plain || res.StatusCode != http.StatusOK || res.Body == nil {
		return
	}
	lines := &pktStream{line: p.confirm}
	if p.request.can("side-band-64k") || p.request.can("side-band") {
		inner := lines
		lines = &pktStream{line: func(text []byte) {
			if len(text) > 0 && text[0] == 1 {
				inner.feed(text[1:])
			}
		}}
	}
	res.Body = &overheard{ReadCloser: res.Body, lines: lines}
}

// confirm takes one line of the report.
func (p *pushed) confirm(text []byte) {
	ref, ok := strings.CutPrefix(strings.TrimSuffix(string(text), "\n"), "ok ")
	if !ok {
		return
	}
	for _, c := range p.request.commands {
		if c.ref == ref {
			p.gate.remember(madeRef{p.repository, ref}, c.new)
		}
	}
}

func (g *gitGate) remember(ref madeRef, id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, known := g.made[ref]; known || len(g.made) < maxMade {
		g.made[ref] = id
	}
}

// overheard is a body of pkt-lines that somebody reads along.
type overheard struct {
	io.ReadCloser
	lines *pktStream
}

func (o *overheard) Read(p []byte) (int, error) {
	n, err := o.ReadCloser.Read(p)
	o.lines.feed(p[:n])
	return n, err
}

// pktStream gives the pkt-lines of a stream that comes in pieces. It stops at the first that is none.
type pktStream struct {
	line func(text []byte) // its argument is good until it returns
	held []byte
	bad  bool
}

func (s *pktStream) feed(p []byte) {
	if s.bad {
		return
	}
	s.held = append(s.held, p...)
	rest := s.held
	for len(rest) >= 4 {
		n, err := pktLength(rest[:4])
		if err != nil {
			s.bad, s.held = true, nil
			return
		}
		if n < 4 {
			rest = rest[4:]
			continue
		}
		if len(rest) < n {
			break
		}
		s.line(rest[4:n])
		rest = rest[n:]
	}
	s.held = s.held[:copy(s.held, rest)]
}
