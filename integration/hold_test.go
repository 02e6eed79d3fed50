package integration

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"sync"
)

// holds let a script look at a jail while an answer is due: a request whose body says "hold until NAME" is answered after /release?name=NAME,
// and /held?name=NAME is answered when it has come.
type holds struct {
	mu   sync.Mutex
	list map[string]*hold
}

// hold is one NAME.
type hold struct {
	came, released chan struct{} // closed then
	first          sync.Once
}

var holdUntil = regexp.MustCompile(`hold until ([a-z0-9]+)`)

func (h *holds) of(name string) *hold {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.list == nil {
		h.list = map[string]*hold{}
	}
	if h.list[name] == nil {
		h.list[name] = &hold{came: make(chan struct{}), released: make(chan struct{})}
	}
	return h.list[name]
}

// hold is a handler before which held requests wait.
func (h *holds) hold(next http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if name := holdUntil.FindSubmatch(body); name != nil {
			one := h.of(string(name[1]))
			one.first.Do(func() { close(one.came) })
			wait(r, one.released)
		}
		next(rw, r)
	}
}

func (h *holds) held(_ http.ResponseWriter, r *http.Request) { wait(r, h.of(r.FormValue("name")).came) }

func (h *holds) release(_ http.ResponseWriter, r *http.Request) {
	close(h.of(r.FormValue("name")).released)
}

func wait(r *http.Request, c <-chan struct{}) {
	select {
	case <-c:
	case <-r.Context().Done():
	}
}
