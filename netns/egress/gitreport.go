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
