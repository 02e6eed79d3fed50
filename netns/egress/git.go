package egress

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// judgeGit judges requests to a host whose rule says something about git: smart HTTP in all its versions and the dumb protocol
// (gitprotocol-http(5)), and the batch API of Git LFS (docs/api/batch.md of git-lfs). It says why a request is refused, or nil, and may
// replace its body by one that gives the same bytes.
//
// "fetch" lets everything pass that reads: GET, HEAD and OPTIONS, POST to git-upload-pack and git-upload-archive, and LFS batches that download. Every other
// request is refused, also one that has nothing to do with git: what writes to a host of repositories (an issue, a gist, an upload,
// WebDAV, on which git-http-push(1) is built) carries code out as well as a push does. "push" adds git-receive-pack and what
// belongs to LFS. "none" refuses git and leaves the rest to the rule's other keys.
//
// With PushRefs the commands that stand before the pack are read: refs that no glob matches, deletions, signed pushes (another spelling
// of the commands) and push options (to some servers "merge this") are refused. Whether an update is forced is not in its command,
// which has no more than the old and the new object id. It passes when the commits of the pack show that the one descends from the
// other: see history. What the server has from elsewhere is not in the pack, so a fast-forward by way of that is refused as a forced
// update is. Whether the old id is the ref's is for the server to say (gitprotocol-pack(5), "Reference Update Request"). Without
// PushRefs the commands are not read, and "push" is every push.
//
// The beginning of a push is held until this is decided, and then sent; not the end, with the rest sent before. For git the decision falls
// within the first kilobytes, so that a large pack streams all the same. The server sees nothing of a push that is refused, so it
// cannot matter what it makes of a pack without an end, nor that it answers before the door does: git shows the door's words.
func judgeGit(t target, req *http.Request, room *bodies) *refusal {
	if t.rule == nil || t.rule.Git == "" {
		return nil
	}
	raw := req.URL.EscapedPath()
	path, one := canonicalPath(raw)
	if !one {
		// Of a read it does not matter which of the two it is: a slash in the name of a branch is written %2F, for one.
		if path = req.URL.Path; t.rule.Git == "none" && raw != "*" || !safe(req.Method) {
			why := t.refuse(Path, "path that can be read in two ways: "+raw, "")
			why.fix = "spell the path plainly"
			return why
		}
	}
	service := gitService(path, req.URL.RawQuery)
	if t.rule.Git == "none" {
		if service == noService {
			return nil
		}
		return t.refuse(NoGit, path, "")
	}
	return judgeService(t, req, path, service, room)
}

// safe says whether a method only reads (RFC 9110 section 9.2.1).
func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

func judgeService(t target, req *http.Request, path string, service gitAct, room *bodies) *refusal {
	push := t.rule.Git == "push"
	if overrides(req) {
		return noWrite(t, "method override")
	}
	switch {
	case service == receivePack && !push:
		return noPush(t, path)
	case safe(req.Method):
		return nil
	case service == receivePack && req.Method == http.MethodPost && len(t.rule.PushRefs) > 0:
		return judgePush(t, req, room)
	case service == receivePack && req.Method == http.MethodPost:
		return nil
	case service == uploadPack && req.Method == http.MethodPost:
		if kind := req.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/x-git-upload-") {
			return noWrite(t, "git-upload-pack with Content-Type "+kind)
		}
		return nil
	case service == lfs && push:
		return nil
	case service == lfs && req.Method == http.MethodPost && strings.HasSuffix(path, "/objects/batch"):
		return judgeBatch(t, req)
	case service == lfs, service != noService, webDAV(req.Method):
		return noPush(t, req.Method+" "+path)
	}
	return noWrite(t, req.Method+" "+path)
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
