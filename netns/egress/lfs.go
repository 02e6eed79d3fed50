package egress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// maxBatch bounds the body of an LFS batch in bytes; a client asks for a hundred objects at a time, in about 10 KiB.
const maxBatch = 1 << 20

// judgeBatch lets an LFS batch pass that downloads (docs/api/batch.md of git-lfs), and puts its body back.
func judgeBatch(t target, req *http.Request) *refusal {
	operation, err := peekBatch(req)
	if err == nil && operation == "download" {
		return nil
	}
	why := noPush(t, "LFS batch, operation "+bounded(operation))
	if err != nil {
		why = noPush(t, "LFS batch: "+err.Error())
	}
	// git-lfs prints the field message of its own kind of answer (docs/api/batch.md, "Response Errors").
	why.say = func(w http.ResponseWriter, _ *http.Request, message string) {
		w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
		w.WriteHeader(why.reason.status())
		_ = json.NewEncoder(w).Encode(map[string]string{"message": message, "reason": string(why.reason)})
	}
	return why
}

func peekBatch(req *http.Request) (operation string, err error) {
	if req.Body == nil || len(req.Header["Content-Encoding"]) > 0 {
		return "", errors.New("no body, or an encoded one")
	}
	body, err := io.ReadAll(io.LimitReader(req.Body, maxBatch+1))
	switch {
	case err != nil:
		return "", err
	case len(body) > maxBatch:
		return "", fmt.Errorf("more than %d bytes", maxBatch)
	}
	req.Body = &putBack{Reader: bytes.NewReader(body), Closer: req.Body}
	return batchOperation(body)
}

// batchOperation reads the operation. It takes no second one, nor one in another case: encoding/json would take the last of them,
// another reader the first, a third only the one in lower case.
func batchOperation(body []byte) (operation string, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return "", errors.New("not a JSON object")
	}
	found := false
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return "", err
		}
		name, _ := key.(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return "", err
		}
		if !strings.EqualFold(name, "operation") {
			continue
		}
		if found || name != "operation" || json.Unmarshal(value, &operation) != nil {
			return "", errors.New("operation that can be read in two ways")
		}
		found = true
	}
	if _, err := d.Token(); err != nil {
		return "", err
	}
	if _, err := d.Token(); err != io.EOF {
		return "", errors.New("more behind the JSON object")
	}
	return operation, nil
}
