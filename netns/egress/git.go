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
// "fetch" lets everything pass that reads: GET, HEAD and OPTIONS, POST to git-upload-pack and git-upload-archive, and LFS
// batches that download. Every other request is refused, also one that has nothing to do with git: what writes to a host of
// repositories (an issue, a gist, an upload, WebDAV, on which git-http-push(1) is built) carries code out as well as a push
// does. "push" adds git-receive-pack and the calls of LFS. "none" refuses git and leaves the rest to the rule's other keys.
//
// A forge's own API may take the name of a file as the rest of its path, so that ".../contents/git-upload-pack" makes a file.
// What is to pass as git's is therefore git's as a whole: service directly behind a path that can be a repository's (see
// repository), type, no query, and of LFS the fields of the body. Where only the end of the path is git's, the request is
// refused.
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
	case upgrades(req.Header):
		return noWrite(t, "protocol upgrade: what is said behind it is not judged")
	case safe(req.Method):
		return nil
	}
	repo, act := endpoint(path)
	if !repository(repo) || req.URL.RawQuery != "" {
		act = "" // of a forge's API, or nobody's
	}
	post := req.Method == http.MethodPost
	switch {
	case act == "git-receive-pack" && post && len(t.rule.PushRefs) > 0:
		return judgePush(t, req, room)
	case act == "git-receive-pack" && post:
		return judgePushType(t, req)
	case (act == "git-upload-pack" || act == "git-upload-archive") && post:
		if !typed(req, "application/x-"+act+"-request") {
			return noWrite(t, fmt.Sprintf("%s with Content-Type %q", act, req.Header["Content-Type"]))
		}
		return nil
	case strings.HasPrefix(act, "info/lfs/"):
		return judgeLFS(t, req, path, strings.TrimPrefix(act, "info/lfs/"))
	case service == uploadPack && post:
		return noWrite(t, "POST "+path+", which is not git's as a whole")
	case service != noService, webDAV(req.Method):
		return noPush(t, req.Method+" "+path)
	}
	return noWrite(t, req.Method+" "+path)
}

// upgrades says whether a request asks for another protocol that would be let through: h2c never is, git asks for it in clear
// text (http.version of git-config(1)) and goes on without.
func upgrades(header http.Header) bool {
	return slices.ContainsFunc(header["Upgrade"], func(to string) bool { return !strings.EqualFold(to, "h2c") })
}

// typed says whether a request has one Content-Type and which: byte by byte, because servers look for words in it.
func typed(req *http.Request, kinds ...string) bool {
	has := req.Header["Content-Type"]
	return len(has) == 1 && slices.Contains(kinds, has[0])
}

// endpoint divides a canonical path into what would be a repository's and what of git's is asked of it, "" for nothing.
func endpoint(path string) (repo, act string) {
	for _, act := range []string{"git-upload-pack", "git-upload-archive", "git-receive-pack"} {
		if repo, ok := strings.CutSuffix(path, "/"+act); ok {
			return repo, act
		}
	}
	if repo, rest, ok := strings.Cut(path, "/info/lfs/"); ok {
		return repo, "info/lfs/" + rest
	}
	return path, ""
}

// repository says whether a canonical path can be a repository's: any number of segments, as GitLab's groups have them, none of
// which begins a forge's API or what it writes files by. Words that are names of groups and repositories, too, count only where
// the API has them: api, rest and v2 at the front, api and rest before a version or an area behind a prefix that the server is
// installed under, contents before a file or behind /repos/OWNER/NAME.
func repository(path string) bool {
	s := strings.Split(strings.ToLower(strings.TrimPrefix(path, "/")), "/")
	at := func(i int) string {
		if i < 0 || i >= len(s) {
			return ""
		}
		return s[i]
	}
	for i, word := range s {
		switch word {
		case "", "-", "_api", "_apis", "_edit", "_new", "_upload", "_delete", "_diffpatch": // GitLab's, Azure DevOps's, Gitea's
			return false
		case "api", "rest":
			if i == 0 || area(at(i+1)) {
				return false
			}
		case "v2":
			if i == 0 { // registries of containers
				return false
			}
		case "contents":
			if i < len(s)-1 || at(i-3) == "repos" || at(i-2) == "repositories" {
				return false
			}
		case "repository":
			if at(i+1) == "files" {
				return false
			}
		}
	}
	return true
}

// area says whether a segment is what follows "api" in a path: a version (v1, v4, 1.0, latest) or one of Gitea's, GitLab's and
// GitHub's areas without one.
func area(segment string) bool {
	if digits := strings.TrimPrefix(segment, "v"); digits != "" && digits[0] >= '0' && digits[0] <= '9' {
		return true
	}
	return slices.Contains([]string{"api", "latest", "packages", "internal", "actions", "graphql", "uploads"}, segment)
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
