package egress

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// gitGate judges requests to a host whose rule says something about git: smart HTTP in all its versions and the dumb protocol
// (gitprotocol-http(5)), and the batch API of Git LFS (docs/api/batch.md of git-lfs).
//
// "fetch" lets everything pass that reads: GET, HEAD and OPTIONS, POST to git-upload-pack and git-upload-archive, and LFS batches that download. Every other
// request is refused, also one that has nothing to do with git: what writes to a host of repositories (an issue, a gist, an upload,
// WebDAV, on which git-http-push(1) is built) carries code out as well as a push does. "push" adds git-receive-pack and what
// belongs to LFS. "none" refuses git and leaves the rest to the rule's other keys.
//
// With PushRefs the commands that stand before the pack are read, and nothing is sent before all of them are judged: refs that no
// glob matches, deletions, signed pushes (another spelling of the commands) and push options (to some servers "merge this") are refused. Whether an
// update is forced cannot be read from the wire: a command has the old and the new object id, and that one descends from the other
// is known only to who has the commits. So an update passes only of a ref that this session has made, at the id that it
// gave it last and that the server confirmed: nothing of anybody else's is lost by it. Every other update is refused, a
// fast-forward too; a new branch is the way. Without PushRefs the commands are not read, and "push" is every push.
type gitGate struct {
	mu   sync.Mutex
	made map[madeRef]string // the object id that the server has
}

type madeRef struct{ repository, ref string }

// maxMade is how many refs of a session's own are remembered. One that is not can no longer be updated.
const maxMade = 10_000

func newGitGate() *gitGate { return &gitGate{made: map[madeRef]string{}} }

// pushed is a push that was let through. Nil is no push, or one that nothing is to be remembered of.
type pushed struct {
	gate       *gitGate
	repository string
	request    *pushRequest
}

// judge says why the rule of t does not allow req as far as git is concerned, or nil. It may replace req.Body by one that gives the
// same bytes. Of a push that passes it gives what has to see the answer.
func (g *gitGate) judge(t target, req *http.Request) (*pushed, *refusal) {
	if t.rule == nil || t.rule.Git == "" {
		return nil, nil
	}
	raw := req.URL.EscapedPath()
	path, one := canonicalPath(raw)
	if !one {
		// Of a read it does not matter which of the two it is: a slash in the name of a branch is written %2F, for one.
		if path = req.URL.Path; t.rule.Git == "none" && raw != "*" || !safe(req.Method) {
			why := t.refuse(Path, "path that can be read in two ways: "+raw, "")
			why.fix = "spell the path plainly"
			return nil, why
		}
	}
	service := gitService(path, req.URL.RawQuery)
	if t.rule.Git == "none" {
		if service == noService {
			return nil, nil
		}
		return nil, t.refuse(NoGit, path, "")
	}
	return g.judgeService(t, req, path, service)
}

// safe says whether a method only reads (RFC 9110 section 9.2.1).
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

func (g *gitGate) judgeService(t target, req *http.Request, path string, service gitAct) (*pushed, *refusal) {
	push := t.rule.Git == "push"
	if overrides(req) {
		return nil, noWrite(t, "method override")
	}
	switch {
	case service == receivePack && !push:
		return nil, noPush(t, path)
	case safe(req.Method):
		return nil, nil
	case service == receivePack && req.Method == http.MethodPost && len(t.rule.PushRefs) > 0:
		return g.judgePush(t, req, strings.TrimSuffix(path, "/git-receive-pack"))
	case service == receivePack && req.Method == http.MethodPost:
		return nil, nil
	case service == uploadPack && req.Method == http.MethodPost:
		if kind := req.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/x-git-upload-") {
			return nil, noWrite(t, "git-upload-pack with Content-Type "+kind)
		}
		return nil, nil
	case service == lfs && push:
		return nil, nil
	case service == lfs && req.Method == http.MethodPost && strings.HasSuffix(path, "/objects/batch"):
		return nil, judgeBatch(t, req)
	case service == lfs, service != noService, webDAV(req.Method):
		return nil, noPush(t, req.Method+" "+path)
	}
	return nil, noWrite(t, req.Method+" "+path)
}

// noPush is the answer to who wants to push and may not. git prints a body of text/plain, each line behind "remote:", when it gets it for
// the first request of a push, GET info/refs (show_http_message of git's remote-curl.c).
func noPush(t target, detail string) *refusal {
	why := t.refuse(GitPush, detail, "")
	why.fix = "commit here; push from outside the jail after review"
	return why
}

// noWrite is the answer to a request that changes something and is not git's.
func noWrite(t target, detail string) *refusal {
	why := t.refuse(Method, detail, "")
	why.fix = fmt.Sprintf("its rule has git = %q, which lets reads and git pass and nothing else", t.rule.Git)
	return why
}

// gitAct is what of git's a request is about.
type gitAct int

const (
	noService gitAct = iota
	uploadPack
	receivePack
	lfs
	dumb // reads of a repository's files; writes would be WebDAV's
)

// gitService tells by the canonical path and the query what of git's a request is about.
func gitService(path, query string) gitAct {
	path = strings.ToLower(strings.TrimSuffix(path, "/")) // some servers fold case; nobody has another use for these names
	switch {
	case strings.HasSuffix(path, "/info/refs"):
		for pair := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
			if _, v, _ := strings.Cut(pair, "="); strings.EqualFold(unescape(v), "git-receive-pack") {
				return receivePack
			}
		}
		if strings.Contains(query, "git-upload-pack") {
			return uploadPack
		}
		return dumb
	case strings.HasSuffix(path, "/git-receive-pack"):
		return receivePack
	case strings.HasSuffix(path, "/git-upload-pack"), strings.HasSuffix(path, "/git-upload-archive"):
		return uploadPack
	case strings.Contains(path+"/", "/info/lfs/"):
		return lfs
	case strings.Contains(path, "/objects/info/"), strings.Contains(path, "/objects/pack/"), strings.HasSuffix(path, ".git/head"), looseObject(path):
		return dumb
	}
	return noService
}

// looseObject says whether the path ends as that of a loose object: /objects/12/34…
func looseObject(path string) bool {
	rest, name := cutLast(path)
	rest, fan := cutLast(rest)
	return strings.HasSuffix(rest, "/objects") && len(fan) == 2 && objectID(fan+name)
}

func cutLast(path string) (rest, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)], path[i+1:]
}

// webDAV says whether a method is one that git-http-push(1) writes with, or its kin (RFC 4918).
func webDAV(method string) bool {
	return slices.Contains([]string{"PUT", "DELETE", "PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK"}, method)
}

// overrides says whether a request asks the server to take it for another method's.
func overrides(req *http.Request) bool {
	if _, err := url.ParseQuery(req.URL.RawQuery); err == nil {
		for _, name := range methodParameters() {
			if req.URL.Query().Has(name) {
				return true
			}
		}
	}
	for name := range req.Header {
		if slices.Contains(methodOverrides(), spelled(name)) {
			return true
		}
	}
	return false
}

// judgePush reads the commands of a push and judges them by the rule's PushRefs.
func (g *gitGate) judgePush(t target, req *http.Request, repository string) (*pushed, *refusal) {
	if kind := req.Header.Get("Content-Type"); kind != "application/x-git-receive-pack-request" {
		return nil, noPush(t, "git-receive-pack with Content-Type "+kind)
	}
	p, err := peekPush(req)
	if err != nil {
		why := noPush(t, "push that the door does not read: "+err.Error())
		if errors.Is(err, errPushCert) {
			why.fix = errPushCert.Error()
		}
		return nil, why
	}
	repository = t.String() + repository
	why := make([]string, len(p.commands))
	refused := false
	for i, c := range p.commands {
		why[i] = g.judgeCommand(t.rule, repository, c)
		refused = refused || why[i] != ""
	}
	switch {
	case len(p.commands) == 0: // git's probe
		return nil, nil
	case refused:
		return nil, refusedPush(t, p, why)
	case len(p.options) > 0:
		for i := range why {
			why[i] = "push options are not allowed: to some servers they mean more than a push"
		}
		return nil, refusedPush(t, p, why)
	}
	req.Header["Accept-Encoding"] = []string{"identity"} // the report has to be read
	return &pushed{gate: g, repository: repository, request: p}, nil
}

// judgeCommand gives why a command is refused, or "".
func (g *gitGate) judgeCommand(r *Rule, repository string, c command) string {
	g.mu.Lock()
	made := g.made[madeRef{repository, c.ref}]
	g.mu.Unlock()
	switch {
	case !slices.ContainsFunc(r.PushRefs, func(glob string) bool { return matchRef(glob, c.ref) }):
		return "only " + strings.Join(r.PushRefs, ", ") + " may be pushed from this jail"
	case c.deletes():
		return "nothing may be deleted from this jail"
	case !c.creates() && made != c.old:
		return "it was not made by this session, and the door cannot tell a forced update; push to a new branch"
	}
	return ""
}

// peekPush reads what stands before the pack and puts it back. A body may be compressed (git does that to the requests of a fetch);
// what is put back are the bytes as they came.
func peekPush(req *http.Request) (*pushRequest, error) {
	if req.Body == nil {
		return nil, io.ErrUnexpectedEOF
	}
	var seen bytes.Buffer
	var r io.Reader = io.TeeReader(&io.LimitedReader{R: req.Body, N: 2 * maxPush}, &seen)
	switch coding := strings.Join(req.Header["Content-Encoding"], ","); coding {
	case "", "identity":
	case "gzip", "x-gzip":
		clear, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("compressed push: %w", err)
		}
		r = clear
	default:
		return nil, fmt.Errorf("Content-Encoding %q", coding)
	}
	p, err := readPush(r)
	req.Body = &putBack{Reader: io.MultiReader(&seen, req.Body), Closer: req.Body}
	return p, err
}

// putBack is a body of which a part was read before.
type putBack struct {
	io.Reader
	io.Closer
}
