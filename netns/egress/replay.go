package egress

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// maxKept is how much of a request body is kept for a second try.
const maxKept = 64 << 10

// rewound is a request body whose beginning can be read again. Between the jail and the door a connection lives on while the one
// between the door and the real server was closed as idle; a client that had one connection would try again by itself, but it sees
// only the door's. The Transport does so for requests that the real server cannot have seen (nothing was written; GOAWAY), if it
// gets the body anew.
type rewound struct {
	from    io.ReadCloser
	reading sync.Mutex // held while from is read, which may take for ever

	mu     sync.Mutex
	begun  []byte // what was read, until it is more than maxKept
	lost   bool   // it was more
	err    error  // of from
	latest *try
}

// try is one reader of the body. Only the latest gets anything.
type try struct {
	body *rewound
	at   int // in begun
}

// replayable lets the Transport try a request again.
func replayable(req *http.Request) {
	if req.Body == nil || req.Body == http.NoBody || req.GetBody != nil {
		return
	}
	body := &rewound{from: req.Body}
	req.GetBody = body.again
	req.Body, _ = body.again() // nothing is lost yet
}

func (b *rewound) again() (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lost {
		return nil, errors.New("request body is no longer there")
	}
	b.latest = &try{body: b}
	return b.latest, nil
}

func (t *try) Read(p []byte) (int, error) {
	for {
		if n, done, err := t.have(p); done {
			return n, err
		}
		if n, done, err := t.more(p); done {
			return n, err
		}
	}
}

// have gives what was read before.
func (t *try) have(p []byte) (n int, done bool, err error) {
	b := t.body
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.latest != t:
		return 0, true, errors.New("request is tried again")
	case t.at < len(b.begun):
		n = copy(p, b.begun[t.at:])
		if t.at += n; b.lost && t.at == len(b.begun) {
			b.begun, t.at = nil, 0
		}
		return n, true, nil
	}
	return 0, b.err != nil || len(p) == 0, b.err
}

// more reads on. A try that was overtaken while it waited for the client leaves what it got to the next.
func (t *try) more(p []byte) (n int, done bool, err error) {
	b := t.body
	b.reading.Lock()
	defer b.reading.Unlock()
	b.mu.Lock()
	mine := b.latest == t && t.at == len(b.begun) && b.err == nil
	b.mu.Unlock()
	if !mine { // another has read in between
		return 0, false, nil
	}
	n, err = b.from.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	if b.lost {
		return n, true, err
	}
	b.begun = append(b.begun, p[:n]...)
	b.lost = b.latest == t && len(b.begun) > maxKept
	return 0, false, nil
}

// Close leaves the client's body open for another try; whoever opened it closes it.
func (t *try) Close() error { return nil }
