package egress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// Bounds of what one session makes the door hold for judging bodies. The launcher is in no cgroup of the jail's: without them a jail
// with many requests of maxBody takes the host's memory.
const (
	maxHeld    = 256 << 20 // bytes of bodies, of all requests under way
	maxParsing = 2         // bodies that are a tree of values at once; one may be fifty times its text
	heldStep   = 256 << 10 // bytes that are reserved before they are read
)

// bodies is the session's room for bodies that are judged.
type bodies struct {
	left    atomic.Int64
	parsing chan struct{}
}

func newBodies() *bodies {
	b := &bodies{parsing: make(chan struct{}, maxParsing)}
	b.left.Store(maxHeld)
	return b
}

// errNoRoom is the refusal of a body for which there is no room just now.
var errNoRoom = errors.New("too many bodies under way")

// judgedBody is a body while it is read, judged and sent. Its room is given back when it is closed or its request is over, whichever
// comes first: a Transport closes what it was given, and nobody closes what was refused.
type judgedBody struct {
	*bytes.Reader
	from io.Closer
	room *bodies
	held int64
	once sync.Once
}

// hold reads a body, at most maxBody bytes of it.
func (b *bodies) hold(req *http.Request) (body *judgedBody, data []byte, err error) {
	body = &judgedBody{from: req.Body, room: b}
	defer func() {
		if err != nil {
			body.release()
		}
	}()
	var text bytes.Buffer
	for {
		if err := body.reserve(2 * heldStep); err != nil { // twice: a buffer that grows is there twice
			return body, nil, err
		}
		n, err := io.CopyN(&text, req.Body, heldStep)
		switch {
		case text.Len() > maxBody:
			return body, nil, fmt.Errorf("body longer than the %d bytes that are judged", maxBody)
		case n < heldStep && (err == io.EOF || err == nil):
			body.Reader = bytes.NewReader(text.Bytes())
			context.AfterFunc(req.Context(), body.release)
			return body, text.Bytes(), nil
		case err != nil:
			return body, nil, fmt.Errorf("read the body: %w", err)
		}
	}
}

func (b *judgedBody) reserve(n int64) error {
	if b.room.left.Add(-n) < 0 {
		b.room.left.Add(n)
		return errNoRoom
	}
	b.held += n
	return nil
}

func (b *judgedBody) release() {
	b.once.Do(func() { b.room.left.Add(b.held) })
}

// Close closes what the bytes were read from.
func (b *judgedBody) Close() error {
	b.release()
	return b.from.Close()
}

// judge reads the text as JSON and asks about it, when few others do so.
func (b *bodies) judge(ctx context.Context, data []byte, ask func(body any) error) error {
	select {
	case b.parsing <- struct{}{}:
		defer func() { <-b.parsing }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	body, err := strictJSON(data)
	if err != nil {
		return err
	}
	return ask(body)
}
