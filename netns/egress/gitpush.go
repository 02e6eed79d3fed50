package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// judgePush judges a push by the rule's PushRefs.
func judgePush(t target, req *http.Request, room *bodies) *refusal {
	if why := judgePushType(t, req); why != nil {
		return why
	}
	if req.Body == nil {
		return noPush(t, "push without a body")
	}
	b := &beginning{body: req.Body, room: &judgedBody{room: room}}
	req.Body = &putBack{Reader: io.MultiReader(&b.seen, req.Body), Closer: req.Body}
	why := b.judge(t, req)
	if why != nil {
		b.room.release()
	} else {
		context.AfterFunc(req.Context(), b.room.release)
	}
	return why
}

// judgePushType refuses what a server could take for something else than a push.
func judgePushType(t target, req *http.Request) *refusal {
	if !typed(req, "application/x-git-receive-pack-request") {
		return noPush(t, fmt.Sprintf("git-receive-pack with Content-Type %q", req.Header["Content-Type"]))
	}
	return nil
}

// beginning is the part of a push that is held until the decision.
type beginning struct {
	body io.Reader
	seen bytes.Buffer
	room *judgedBody
	full bool
}

// Read reads the body and keeps what it has read.
func (b *beginning) Read(p []byte) (int, error) {
	left := maxPackHeld - b.seen.Len()
	if b.full = left == 0; b.full {
		return 0, errPackHeld
	}
	n, err := b.body.Read(p[:min(len(p), left)])
	b.seen.Write(p[:n])
	if why := b.room.reserve(2 * int64(n)); why != nil { // a buffer that grows is there twice
		return n, why
	}
	return n, err
}

// judge reads as much as it takes.
func (b *beginning) judge(t target, req *http.Request) *refusal {
	var p *pushRequest
	in, err := b.clear(strings.Join(req.Header["Content-Encoding"], ","))
	if err == nil {
		p, err = readPush(in)
	}
	if err != nil {
		why := noPush(t, "push that the door does not read: "+err.Error())
		if errors.Is(err, errPushCert) {
			why.fix = errPushCert.Error()
		}
		return why
	}
	why := judgeCommands(t.rule, p)
	if len(why) == 0 {
		why = b.judgeUpdates(p, in)
	}
	if len(why) > 0 {
		return refusedPush(t, p, why)
	}
	return nil
}

// clear gives the body without its Content-Encoding: git compresses the requests of a fetch, JGit small pushes, too. What is sent
// are the bytes as they came.
func (b *beginning) clear(coding string) (*io.LimitedReader, error) {
	in := &io.LimitedReader{R: b, N: maxPackHeld}
	switch coding {
	case "", "identity":
	case "gzip", "x-gzip":
		r, err := gzip.NewReader(b)
		if err != nil {
			return nil, fmt.Errorf("compressed push: %w", err)
		}
		in.R = r
	default:
		return nil, fmt.Errorf("Content-Encoding %q", coding)
	}
	return in, nil
}

// judgeCommands says of each command why it is refused; of no command, when none is.
func judgeCommands(r *Rule, p *pushRequest) (why []string) {
	why = make([]string, len(p.commands))
	for i, c := range p.commands {
		switch {
		case !slices.ContainsFunc(r.PushRefs, func(glob string) bool { return matchRef(glob, c.ref) }):
			why[i] = "only " + strings.Join(r.PushRefs, ", ") + " may be pushed from this jail"
		case c.deletes():
			why[i] = "nothing may be deleted from this jail"
		case len(p.options) > 0:
			why[i] = "push options are not allowed: to some servers they mean more than a push"
		}
	}
	return ifAny(why)
}

// judgeUpdates says of each update why it is refused, by what the pack shows. With no update nothing of the pack is read.
func (b *beginning) judgeUpdates(p *pushRequest, pack *io.LimitedReader) (why []string) {
	h, err := newHistory(p, b.room.reserve)
	if err == nil {
		err = readPack(pack, h)
	}
	if err != nil && (b.full || pack.N <= 0) {
		err = errPackHeld
	}
	why = make([]string, len(p.commands))
	for i, c := range p.commands {
		if !c.creates() {
			why[i] = h.why(c, err)
		}
	}
	return ifAny(why)
}

// ifAny gives the reasons if there is one.
func ifAny(why []string) []string {
	if !slices.ContainsFunc(why, func(text string) bool { return text != "" }) {
		return nil
	}
	return why
}

// putBack is a body of which a part was read before.
type putBack struct {
	io.Reader
	io.Closer
}
