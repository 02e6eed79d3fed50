package integration

import (
	"encoding/json"
	"net/http"
	"path"
	"path/filepath"
)

// batch stands in for the LFS of hello.git (docs/api/batch.md of git-lfs).
func batch(rw http.ResponseWriter, r *http.Request) {
	type object struct {
		OID           string                       `json:"oid"`
		Size          int64                        `json:"size"`
		Authenticated bool                         `json:"authenticated"`
		Actions       map[string]map[string]string `json:"actions"`
	}
	var asked struct {
		Operation string   `json:"operation"`
		Objects   []object `json:"objects"`
	}
	if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	for i := range asked.Objects {
		o := &asked.Objects[i]
		o.Authenticated = true
		o.Actions = map[string]map[string]string{asked.Operation: {"href": "https://" + r.Host + "/git/hello.git/info/lfs/objects/of/" + o.OID}}
	}
	rw.Header().Set("Content-Type", "application/vnd.git-lfs+json")
	json.NewEncoder(rw).Encode(map[string]any{"transfer": "basic", "objects": asked.Objects})
}

// lfsObject gives an object from the files' directory lfs; what is uploaded is taken for known.
func (w *webServers) lfsObject(rw http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		http.ServeFile(rw, r, filepath.Join(w.Files, "lfs", path.Base(r.URL.Path)))
	}
}
