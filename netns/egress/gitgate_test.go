package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
)

// TestGitGate: what each kind of rule lets pass, request by request. The body is the same afterwards.
func TestGitGate(t *testing.T) {
	const (
		batch   = "/r.git/info/lfs/objects/batch"
		receive = "/r.git/git-receive-pack"
		down    = `{"operation":"download","transfers":["basic"],"objects":[{"oid":"a","size":1}]}`
	)
	lfs := map[string]string{"Content-Type": "application/vnd.git-lfs+json"}
	typed := func(kind string) map[string]string { return map[string]string{"Content-Type": kind} }
	oid := strings.Repeat("0a", 32)
	upload := map[string]string{"Content-Type": "application/x-git-upload-pack-request"}
	push := map[string]string{"Content-Type": "application/x-git-receive-pack-request"}
	// The reason under fetch, push and none.
	for _, tc := range []struct {
		method, url         string
		header              map[string]string
		body                string
		fetch, pushes, none Reason
	}{
		{"GET", "/", nil, "", "", "", ""},
		{"GET", "/r/archive/main.tar.gz", nil, "", "", "", ""},
		{"GET", "/r.git/info/refs?service=git-upload-pack", nil, "", "", "", NoGit},
		{"GET", "/r.git/info/refs", nil, "", "", "", NoGit},
		{"GET", "/r.git/objects/info/packs", nil, "", "", "", NoGit},
		{"GET", "/r.git/objects/" + idA[:2] + "/" + idA[2:], nil, "", "", "", NoGit},
		{"GET", "/r.git/HEAD", nil, "", "", "", NoGit},
		{"GET", "/r/tree/feature%2Fx", nil, "", "", "", Path},
		{"POST", "/r.git/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/r.git/git-upload-archive", map[string]string{"Content-Type": "application/x-git-upload-archive-request"}, "0000", "", "", NoGit},
		{"POST", "/r.git/git-upload-pack", push, "0000", Method, Method, NoGit},
		{"POST", "/r.git/git-upload-pack", nil, "0000", Method, Method, NoGit},
		{"OPTIONS", "/r.git/x", nil, "", "", "", ""},

		{"GET", "/r.git/info/refs?service=git-receive-pack", nil, "", GitPush, "", NoGit},
		{"GET", "/r.git/info/refs?service=git%2Dreceive-pack", nil, "", GitPush, "", NoGit},
		{"GET", "/r.git/info/refs?service=git-upload-pack&service=git-receive-pack", nil, "", GitPush, "", NoGit},
		{"GET", "/r.git/info/refs?a;service=GIT-RECEIVE-PACK", nil, "", GitPush, "", NoGit},
		{"GET", "/r.git/info%2frefs?service=git-receive-pack", nil, "", GitPush, "", Path},
		{"POST", receive, push, "0000", GitPush, "", NoGit},
		{"POST", receive + "/", push, "0000", GitPush, GitPush, NoGit},
		{"POST", "/r.git/GIT-RECEIVE-PACK", push, "0000", GitPush, GitPush, NoGit},
		{"POST", "/r.git//git-receive-pack", push, "0000", Path, Path, Path},
		{"POST", "/r.git/git%2Dreceive-pack", push, "0000", GitPush, "", NoGit},
		{"POST", "/r.git/git-receive-pack/../git-upload-pack", upload, "0000", Path, Path, Path},
		{"POST", "/r.git/git-receive-pack;/git-upload-pack", upload, "0000", Path, Path, Path},
		{"PUT", receive, push, "0000", GitPush, GitPush, NoGit},

		{"PUT", "/r.git/objects/" + idA[:2] + "/" + idA[2:], nil, "x", GitPush, GitPush, NoGit},
		{"PUT", "/r.git/refs/heads/main", nil, "x", GitPush, GitPush, ""},
		{"MKCOL", "/r.git/objects/aa/", nil, "", GitPush, GitPush, ""},
		{"LOCK", "/r.git/refs/heads/main", nil, "", GitPush, GitPush, ""},
		{"MOVE", "/r.git/x", nil, "", GitPush, GitPush, ""},
		{"POST", "/r/issues", nil, "x", Method, Method, ""},
		{"POST", "/gists", nil, "x", Method, Method, ""},
		{"PATCH", "/repos/r", nil, "x", Method, Method, ""},
		{"GET", "/repos/r", map[string]string{"X-Http-Method-Override": "DELETE"}, "", Method, Method, ""},
		{"GET", "/repos/r", map[string]string{"X_http_method": "DELETE"}, "", Method, Method, ""},
		{"GET", "/repos/r?_method=DELETE", nil, "", Method, Method, ""},
		{"GET", "/repos/r?httpMethod=DELETE", nil, "", Method, Method, ""},
		{"GET", "/repos/r", map[string]string{"X-Original-Method": "DELETE"}, "", Method, Method, ""},

		{"POST", batch, lfs, down, "", "", NoGit},
		{"POST", batch, typed("application/vnd.git-lfs+json; charset=utf-8"), down, "", "", NoGit},
		{"POST", batch, lfs, ` {"objects":[{"operation":"upload"}],"operation":"download"}` + "\n", "", "", NoGit},
		{"POST", batch, lfs, `{"operation":"download","transfers":[],"ref":null,"objects":[],"hash_algo":"sha256"}`, "", "", NoGit},
		{"POST", batch, lfs, `{"operation":"upload","objects":[]}`, GitPush, "", NoGit},
		{"POST", batch, lfs, `{"operation":"delete","objects":[]}`, GitPush, GitPush, NoGit},
		{"POST", batch, lfs, `{"operation":"download","content":"eA==","message":"m","branch":"main"}`, GitPush, GitPush, NoGit},
		{"POST", batch, lfs, `{"operation":"download","operation":"upload"}`, GitPush, GitPush, NoGit},
		{"POST", batch, lfs, `{"Operation":"upload","operation":"download"}`, GitPush, GitPush, NoGit},
		{"POST", batch, lfs, `{"operation":["download"]}`, GitPush, GitPush, NoGit},
		{"POST", batch, lfs, `{"objects":[]}`, GitPush, GitPush, NoGit},
		{"POST", batch, lfs, down + `{"operation":"upload"}`, GitPush, GitPush, NoGit},
		{"POST", batch, lfs, `[` + down + `]`, GitPush, GitPush, NoGit},
		{"POST", batch, lfs, down[:20], GitPush, GitPush, NoGit},
		{"POST", batch, lfs, "", GitPush, GitPush, NoGit},
		{"POST", batch, lfs, `{"operation":"download","transfers":["` + strings.Repeat("x", maxBatch) + `"]}`, GitPush, GitPush, NoGit},
		{"POST", batch, map[string]string{"Content-Type": lfs["Content-Type"], "Content-Encoding": "gzip"}, down,
			GitPush, GitPush, NoGit},
		{"POST", batch, nil, down, GitPush, GitPush, NoGit},
		{"POST", batch, typed("application/json"), down, GitPush, GitPush, NoGit},
		{"POST", batch + "?x=1", lfs, down, GitPush, GitPush, NoGit},
		{"POST", batch + "/x", lfs, down, GitPush, GitPush, NoGit},
		{"POST", "/r.git/info/lfs/locks", lfs, `{"path":"a","ref":{"name":"refs/heads/x"}}`, GitPush, "", NoGit},
		{"POST", "/r.git/info/lfs/locks", lfs, `{"path":"a","content":"x"}`, GitPush, GitPush, NoGit},
		{"POST", "/r.git/info/lfs/locks", nil, "{}", GitPush, GitPush, NoGit},
		{"POST", "/r.git/info/lfs/locks/verify", lfs, `{"ref":null,"cursor":"","limit":1}`, GitPush, "", NoGit},
		{"POST", "/r.git/info/lfs/locks/7/unlock", lfs, `{"force":false,"ref":null}`, GitPush, "", NoGit},
		{"DELETE", "/r.git/info/lfs/locks/7", nil, "", GitPush, GitPush, NoGit},
		{"GET", "/r.git/info/lfs/locks", nil, "", "", "", NoGit},
		{"GET", "/r.git/info/lfs/locks?path=a&limit=1", nil, "", "", "", NoGit},
		{"GET", "/r.git/info/lfs/objects/" + oid, nil, "", "", "", NoGit},
		{"PUT", "/r.git/info/lfs/objects/" + oid + "/1", typed("application/octet-stream"), "x", GitPush, "", NoGit},
		{"PUT", "/r.git/info/lfs/objects/" + oid, nil, "x", GitPush, "", NoGit},
		{"PUT", "/r.git/info/lfs/objects/basic/" + oid, nil, "x", GitPush, "", NoGit},
		{"POST", "/r.git/info/lfs/verify", lfs, `{"oid":"` + oid + `","size":1}`, GitPush, "", NoGit},
		{"POST", "/r.git/info/lfs/objects/" + oid + "/verify", lfs, `{"oid":"` + oid + `","size":1}`, GitPush, "", NoGit},
		{"POST", "/r.git/info/lfs/verify", lfs, `{"oid":"` + oid + `","content":1}`, GitPush, GitPush, NoGit},
		{"PUT", "/r.git/info/lfs/objects/a/1", nil, "x", GitPush, GitPush, NoGit},
		{"PUT", "/r.git/info/lfs/objects/" + oid + "/x", nil, "x", GitPush, GitPush, NoGit},
		{"PUT", "/r.git/info/lfs/objects/a/b/" + oid + "/1", nil, "x", GitPush, GitPush, NoGit},
		{"PUT", "/r.git/info/lfs/x", nil, "x", GitPush, GitPush, NoGit},
		{"PUT", "/r.git/info/lfs/objects/" + oid + "/1?branch=main", nil, "x", GitPush, GitPush, NoGit},
		{"POST", "/r.git/info/lfs/objects/" + oid, lfs, "{}", GitPush, GitPush, NoGit},
		{"DELETE", "/r.git/info/lfs/objects/" + oid, nil, "", GitPush, GitPush, NoGit},

		// A forge's API, with the end of the path as git has it.
		{"PUT", "/api/v1/repos/o/r/contents/info/lfs/x", typed("application/json"), "{}", GitPush, GitPush, NoGit},
		{"PUT", "/api/v1/repos/o/r/contents/info/lfs/objects/" + oid, typed("application/json"), "{}", GitPush, GitPush, NoGit},
		{"POST", "/api/v1/repos/o/r/contents/info/lfs/x", typed("application/json"), "{}", GitPush, GitPush, NoGit},
		{"DELETE", "/api/v1/repos/o/r/contents/info/lfs/x", typed("application/json"), "{}", GitPush, GitPush, NoGit},
		{"PUT", "/api/v3/repos/o/r/contents/info/lfs/objects/" + oid, typed("application/json"), "{}", GitPush, GitPush, NoGit},
		{"PUT", "/repos/o/r/contents/info/lfs/objects/" + oid, typed("application/json"), "{}", GitPush, GitPush, NoGit},
		{"PUT", "/repos/o/r/contents/a/info/lfs/objects/" + oid, typed("application/json"), "{}", GitPush, GitPush, NoGit},
		{"PUT", "/repositories/1/contents/info/lfs/objects/" + oid, typed("application/json"), "{}", GitPush, GitPush, NoGit},
		{"POST", "/api/v1/repos/o/r/contents/info/lfs/objects/batch", typed("application/json"),
			`{"operation":"download","content":"eA==","message":"m","branch":"main"}`, GitPush, GitPush, NoGit},
		{"POST", "/api/v1/repos/o/r/contents/info/lfs/objects/batch", lfs, down, GitPush, GitPush, NoGit},
		{"POST", "/git/api/v1/repos/o/r/contents/info/lfs/objects/batch", lfs, down, GitPush, GitPush, NoGit},
		{"POST", "/API/v1/repos/o/r/Contents/info/lfs/objects/batch", lfs, down, GitPush, GitPush, NoGit},
		{"POST", "/api/v1/repos/o/r/contents/git-upload-pack", typed("application/x-git-upload-json"), "{}", Method, Method, NoGit},
		{"POST", "/api/v1/repos/o/r/contents/git-upload-pack", upload, "{}", Method, Method, NoGit},
		{"POST", "/api/v1/repos/o/r/contents/a.git/git-upload-pack", upload, "{}", Method, Method, NoGit},
		{"POST", "/api/v1/repos/o/r/contents/git-receive-pack", push, "{}", GitPush, GitPush, NoGit},
		{"POST", "/api/v4/projects/1/repository/files/git-upload-pack?branch=main&commit_message=m&content=x", upload, "",
			Method, Method, NoGit},
		{"POST", "/api/v4/projects/1/repository/files/git-upload-pack", upload, "", Method, Method, NoGit},
		{"POST", "/gitlab/api/v4/projects/1/repository/files/git-upload-pack", upload, "", Method, Method, NoGit},
		{"POST", "/projects/1/repository/files/git-upload-pack", upload, "", Method, Method, NoGit},
		{"POST", "/api/packages/o/generic/x/git-upload-pack", upload, "", Method, Method, NoGit},
		{"POST", "/gitea/api/packages/o/generic/x/git-upload-pack", upload, "", Method, Method, NoGit},
		{"POST", "/rest/api/1.0/projects/p/repos/r/browse/git-upload-pack", upload, "", Method, Method, NoGit},
		{"POST", "/bitbucket/rest/api/latest/projects/p/repos/r/browse/git-upload-pack", upload, "", Method, Method, NoGit},
		{"POST", "/org/project/_apis/git/repositories/r/git-upload-pack", upload, "", Method, Method, NoGit},
		{"POST", "/g/p/-/create/main/git-upload-pack", upload, "", Method, Method, NoGit},
		{"POST", "/o/r/_new/main/git-upload-pack", upload, "", Method, Method, NoGit},
		{"POST", "/v2/o/r/git-upload-pack", upload, "", Method, Method, NoGit},
		{"POST", "/r.git/git-upload-pack", typed("application/x-git-upload-json"), "{}", Method, Method, NoGit},
		{"POST", "/r.git/git-upload-pack", typed("application/x-git-upload-pack-request; a=json"), "{}", Method, Method, NoGit},
		{"POST", "/r.git/git-upload-pack", typed("application/x-git-upload-archive-request"), "{}", Method, Method, NoGit},
		{"POST", "/r.git/git-upload-pack?content=x", upload, "0000", Method, Method, NoGit},
		{"POST", "/git-upload-pack", upload, "0000", Method, Method, NoGit},
		{"POST", receive, typed("application/json"), "{}", GitPush, GitPush, NoGit},
		{"POST", receive + "?content=x", push, "0000", GitPush, GitPush, NoGit},

		// Repositories where forges have them, also under names that mean something elsewhere.
		{"POST", "/o/r/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/a/b/c/d/e.git/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/scm/p/r.git/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/org/project/_git/repo/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/0123456789abcdef.git/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/pub/scm/git/git.git/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/~user/repo/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/v1/repos/r/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/o/api/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/acme/api/gateway.git/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/o/rest/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/o/contents/git-upload-pack", upload, "0000", "", "", NoGit},
		{"POST", "/org/project/_git/repo/info/lfs/objects/batch", lfs, down, "", "", NoGit},
		{"POST", "/a/b/c.git/git-receive-pack", push, "0000", GitPush, "", NoGit},

		{"GET", "/socket", map[string]string{"Connection": "Upgrade", "Upgrade": "websocket"}, "", Method, Method, ""},
		{"GET", "/r.git/info/refs?service=git-upload-pack",
			map[string]string{"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"}, "", "", "", NoGit},
	} {
		for git, want := range map[string]Reason{"fetch": tc.fetch, "push": tc.pushes, "none": tc.none, "": ""} {
			req := httptest.NewRequest(tc.method, tc.url, strings.NewReader(tc.body))
			for name, v := range tc.header {
				req.Header[name] = []string{v}
			}
			why := judgeGit(target{host: gitHost, port: 443, rule: &Rule{Git: git}}, req, newBodies())
			var got Reason
			if why != nil {
				got = why.reason
			} else if body, err := io.ReadAll(req.Body); err != nil || string(body) != tc.body {
				t.Errorf("%q %s %.60s: the body became %.60q, %v", git, tc.method, tc.url, body, err)
			}
			if got != want {
				t.Errorf("%q %s %s %v %.60s: %q, want %q", git, tc.method, tc.url, tc.header, tc.body, got, want)
			}
		}
	}
	if why := judgeGit(target{}, httptest.NewRequest("POST", receive, nil), newBodies()); why != nil {
		t.Errorf("no rule: %v", why)
	}
}

// zip compresses as git does.
func zip(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.WriteString(w, text)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestGitGatePush: the commands are read in every coding that a server reads, and what is sent on are the bytes that came.
func TestGitGatePush(t *testing.T) {
	good := pktLine(idZero+" "+idA+" refs/heads/agent/x\x00report-status") + "0000PACK" + strings.Repeat("pack", 100_000)
	evil := pktLine(idZero+" "+idA+" refs/heads/agent/x\x00report-status") + pktLine(idA+" "+idB+" refs/heads/main") + "0000PACK"
	for _, tc := range []struct {
		name, coding, body string
		reason             Reason
	}{
		{"plain", "", good, ""}, {"gzip", "gzip", zip(t, good), ""}, {"x-gzip", "x-gzip", zip(t, good), ""}, {"identity", "identity", good, ""},
		{"plain, evil", "", evil, GitPush}, {"gzip, evil", "gzip", zip(t, evil), GitPush},
		{"gzip, good in front", "gzip", zip(t, "") + zip(t, evil), GitPush},
		{"not gzip", "gzip", good, GitPush}, {"gzip unsaid", "", zip(t, good), GitPush}, {"deflate", "deflate", good, GitPush},
		{"twice", "gzip, gzip", zip(t, zip(t, good)), GitPush}, {"a bomb", "gzip", zip(t, strings.Repeat(pktLine(strings.Repeat("\x00", 60000)), 100)), GitPush},
	} {
		req := httptest.NewRequest("POST", "/r.git/git-receive-pack", strings.NewReader(tc.body))
		req.Header.Set("Content-Type", "application/x-git-receive-pack-request")
		if tc.coding != "" {
			req.Header.Set("Content-Encoding", tc.coding)
		}
		why := judgeGit(target{host: gitHost, port: 443, rule: &Rule{Git: "push", PushRefs: []string{"agent/*"}}}, req, newBodies())
		if (why == nil) != (tc.reason == "") {
			t.Errorf("%s: %v", tc.name, why)
			continue
		}
		if why == nil {
			if body, err := io.ReadAll(req.Body); err != nil || string(body) != tc.body {
				t.Errorf("%s: %d bytes of %d, %v", tc.name, len(body), len(tc.body), err)
			}
		}
	}
	req := httptest.NewRequest("POST", "/r.git/git-receive-pack", strings.NewReader(good))
	if why := judgeGit(target{rule: &Rule{Git: "push", PushRefs: []string{"agent/*"}}}, req, newBodies()); why == nil {
		t.Error("no Content-Type: passed")
	}
	req.Header["Content-Type"] = []string{"application/x-git-receive-pack-request", "application/json"}
	if why := judgeGit(target{rule: &Rule{Git: "push", PushRefs: []string{"agent/*"}}}, req, newBodies()); why == nil {
		t.Error("two of them: passed")
	}
}

// TestGitGateUpdate: what shows an update may come in every coding that a server reads, and within the bound; what is held for it is given
// back when the request is over.
func TestGitGateUpdate(t *testing.T) {
	text, tip := commitOn("one", idB)
	line := pktLine(idB+" "+tip+" refs/heads/agent/x\x00report-status") + "0000"
	grows, late, bomb := &testPack{}, &testPack{}, &testPack{}
	noise := make([]byte, maxPackHeld)
	_, _ = rand.Read(noise)
	grows.add(1, text)
	grows.add(3, noise)
	late.add(3, noise)
	late.add(1, text)
	bomb.add(3, make([]byte, 1<<20))
	for range 6 {
		bomb.objects.Write(bytes.Repeat(bomb.objects.Bytes(), 3))
	}
	bomb.n = math.MaxUint32
	for _, tc := range []struct{ name, coding, pack, says string }{
		{"plain", "", string(grows.bytes()), ""},
		{"gzip", "gzip", zip(t, line+string(grows.bytes())), ""},
		{"commit behind the bound", "", string(late.bytes()), "not in the first 16 MiB"},
		{"gzip, a bomb in a bomb", "gzip", zip(t, line+string(bomb.bytes())), "cannot tell"},
		{"nothing", "", "", "cannot tell"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := tc.pack
				if tc.coding == "" {
					body = line + body
				}
				ctx, cancel := context.WithCancel(t.Context())
				req := httptest.NewRequestWithContext(ctx, "POST", "/r.git/git-receive-pack", strings.NewReader(body))
				req.Header.Set("Content-Type", "application/x-git-receive-pack-request")
				if tc.coding != "" {
					req.Header.Set("Content-Encoding", tc.coding)
				}
				room := newBodies()
				why := judgeGit(target{host: gitHost, port: 443, rule: &Rule{Git: "push", PushRefs: []string{"agent/*"}}}, req, room)
				if (why == nil) != (tc.says == "") || why != nil && !strings.Contains(why.detail, tc.says) {
					t.Errorf("%+v", why)
				}
				if held := maxHeld - room.left.Load(); (held > 0) != (why == nil) || held > 3*maxPackHeld {
					t.Errorf("%d bytes held", held)
				}
				if got, err := io.ReadAll(req.Body); err != nil || string(got) != body {
					t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
				}
				cancel()
				synctest.Wait()
				if room.left.Load() != maxHeld {
					t.Errorf("%d bytes of room", room.left.Load())
				}
			})
		})
	}
}

// TestLFSRefusal: git-lfs prints the field message.
func TestLFSRefusal(t *testing.T) {
	f := newForge(t, Rule{Git: "fetch"})
	req, err := http.NewRequest("POST", "https://"+gitHost+"/repo.git/info/lfs/objects/batch", strings.NewReader(`{"operation":"upload"}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "application/vnd.git-lfs+json")
	req.Header.Set("Content-Type", "application/vnd.git-lfs+json")
	res, err := f.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var says struct{ Message string }
	if err := json.NewDecoder(res.Body).Decode(&says); err != nil || res.StatusCode != 403 || !strings.Contains(says.Message, "push from outside the jail") ||
		res.Header.Get("Content-Type") != "application/vnd.git-lfs+json" {
		t.Errorf("%s %q %v", res.Status, says.Message, err)
	}
}
