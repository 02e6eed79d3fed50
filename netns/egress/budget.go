package egress

import (
	"errors"
	"sync"
	"sync/atomic"
)

// gate lets a number of things through at once.
type gate struct {
	limit int64
	open  atomic.Int64
	full  atomic.Bool // the limit is reached and that was told
}

// enter says whether there is room. Who got it leaves.
func (g *gate) enter() bool {
	if g.open.Add(1) <= g.limit {
		g.full.Store(false)
		return true
	}
	g.open.Add(-1)
	return false
}

func (g *gate) leave() { g.open.Add(-1) }

// errBudget says that the connections of the session together hold too much of what they have not finished to say.
var errBudget = errors.New("too many unfinished request heads and hellos")

// budget is a number of bytes for all connections together. The first 4 KiB of each are free, so it bounds the rare long head
// (cookies, a session ticket) and is never asked about the others.
type budget struct{ left atomic.Int64 }

const freeBytes = 4 << 10

// bill is what one connection has of a budget. The nil bill has no limit.
type bill struct {
	of *budget

	mu     sync.Mutex
	held   int64
	said   int64 // by streams that are not over
	closed bool  // nothing more is given
}

// hold says whether the connection may hold n bytes in all.
func (b *bill) hold(n int) bool {
	if b == nil {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	more := int64(n) - freeBytes - b.held
	switch {
	case more <= 0:
		return true
	case b.closed:
		return false
	}
	if b.of.left.Add(-more) < 0 {
		b.of.left.Add(more)
		return false
	}
	b.held += more
	return true
}

// stream says whether a connection of many streams may hold n bytes more until over is called.
func (b *bill) stream(n int64) (over func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.settled(b.said + n) {
		return nil, false
	}
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.settled(b.said - n)
	}, true
}

// settled makes what is held fit what is said, if the budget has it.
func (b *bill) settled(said int64) bool {
	more := max(0, said-freeBytes) - b.held
	if b.closed && more > 0 {
		return false
	}
	if b.of.left.Add(-more) < 0 && more > 0 {
		b.of.left.Add(more)
		return false
	}
	b.held, b.said = b.held+more, said
	return true
}

// release gives everything back.
func (b *bill) release() { b.settle(false) }

// close is the last release.
func (b *bill) close() { b.settle(true) }

func (b *bill) settle(last bool) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of.left.Add(b.held)
	b.held, b.closed = 0, b.closed || last
}
