package egress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// maxBatch bounds the body of a call to LFS in bytes; a client asks for a hundred objects at a time, in about 10 KiB.
const maxBatch = 1 << 20

// judgeLFS judges what is not a read and stands behind a repository's info/lfs/. Batches that download pass always. With git =
// "push" pass batches that upload, locks (docs/api/locking.md of git-lfs), the objects themselves and their verification
// (docs/api/basic-transfers.md), whose addresses are the server's choice: those that are known to stand here are Gitea's, Gogs's
// and Azure DevOps's.
func judgeLFS(t target, req *http.Request, path, call string) *refusal {
	push := t.rule.Git == "push"
	if req.Method == http.MethodPut && push && lfsObject(call) {
		return nil
	}
	fields := lfsFields(call)
	if req.Method != http.MethodPost || fields == nil || call != lfsBatch && !push {
		return noPush(t, req.Method+" "+path)
	}
	if !typed(req, lfsType, lfsType+"; charset=utf-8") {
		return lfsRefusal(t, fmt.Sprintf("LFS with Content-Type %q", req.Header["Content-Type"]))
	}
	operation := ""
	body, err := peekBody(req)
	switch {
	case err != nil:
	case call == lfsBatch:
		operation, err = batchOperation(body)
	default:
		_, err = readObject(body, fields)
	}
	switch {
	case err != nil:
		return lfsRefusal(t, "LFS "+call+": "+err.Error())
	case call == lfsBatch && operation != "download" && !(push && operation == "upload"):
		return lfsRefusal(t, "LFS batch, operation "+bounded(operation))
	}
	return nil
}

const (
	lfsBatch = "objects/batch"
	lfsType  = "application/vnd.git-lfs+json"
)

// lfsFields gives the fields that the body of a call may have, nil: there is no such call.
func lfsFields(call string) []string {
	s := strings.Split(call, "/")
	switch {
	case call == lfsBatch:
		return []string{"operation", "transfers", "ref", "objects", "hash_algo"}
	case call == "locks":
		return []string{"path", "ref"}
	case call == "locks/verify":
		return []string{"cursor", "limit", "ref"}
	case len(s) == 3 && s[0] == "locks" && s[2] == "unlock":
		return []string{"force", "ref"}
	case call == "verify", call == "objects/verify", call == "objects/basic/verify",
		len(s) == 3 && s[0] == "objects" && lfsID(s[1]) && s[2] == "verify":
		return []string{"oid", "size"}
	}
	return nil
}

// lfsObject says whether a call is an object: objects/OID, objects/OID/SIZE, or with one word before them, as objects/basic/OID.
func lfsObject(call string) bool {
	s := strings.Split(call, "/")
	if s[0] != "objects" {
		return false
	}
	s = s[1:]
	if len(s) > 1 && !lfsID(s[0]) {
		s = s[1:]
	}
	number := func(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }
	return len(s) > 0 && len(s) < 3 && lfsID(s[0]) && (len(s) == 1 || number(s[1]))
}

// lfsID says whether a segment is the id of an object: SHA-256 is the one hash that LFS has.
func lfsID(segment string) bool {
	return len(segment) == 64 && strings.Trim(segment, "0123456789abcdef") == ""
}

// lfsRefusal is noPush for a call whose client prints the field message of its own kind of answer (docs/api/batch.md, "Response
// Errors").
func lfsRefusal(t target, detail string) *refusal {
	why := noPush(t, detail)
	why.say = func(w http.ResponseWriter, _ *http.Request, message string) {
		w.Header().Set("Content-Type", lfsType)
		w.WriteHeader(why.reason.status())
		_ = json.NewEncoder(w).Encode(map[string]string{"message": message, "reason": string(why.reason)})
	}
	return why
}

// peekBody reads a body and puts it back.
func peekBody(req *http.Request) ([]byte, error) {
	if req.Body == nil || len(req.Header["Content-Encoding"]) > 0 {
		return nil, errors.New("no body, or an encoded one")
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, maxBatch+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxBatch:
		return nil, fmt.Errorf("more than %d bytes", maxBatch)
	}
	req.Body = &putBack{Reader: bytes.NewReader(body), Closer: req.Body}
	return body, nil
}

// batchOperation reads the operation of a batch.
func batchOperation(body []byte) (operation string, err error) {
	values, err := readObject(body, lfsFields(lfsBatch))
	if err == nil && json.Unmarshal(values["operation"], &operation) != nil {
		err = errors.New("no operation that is text")
	}
	return operation, err
}

// readObject reads a body that is one JSON object with none but the fields. It takes none twice, nor in another case:
// encoding/json would take the last of them, another reader the first, a third only the one in lower case.
func readObject(body []byte, fields []string) (map[string]json.RawMessage, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	values := map[string]json.RawMessage{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		if _, twice := values[name]; twice || !slices.Contains(fields, name) {
			return nil, fmt.Errorf("field %q, which it has not, or twice", bounded(name))
		}
		values[name] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more behind the JSON object")
	}
	return values, nil
}
