package egress

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// history is what a push has to show: that each of its updates is a fast-forward, the new commit leading back to the old one through
// parents. The commits come in any order.
//
// An id is the hash of the commit, its parents' ids included. So whoever has commits that lead from the one to the other has a proof, wherever
// they came from: nothing is taken on trust but the hash. (SHA-1's collisions are the server's to find, which has git's sha1collisiondetection.)
type history struct {
	size    int // bytes of an id
	commits map[oid]*known
	shallow map[oid]bool // whose parents count for nothing: the server may cut them off (gitprotocol-pack(5))
	updates []command
	old     map[oid]uint64 // which updates begin here, a bit each
	missing uint64         // updates that are not shown yet

	left    uint64              // bytes that may still be kept
	reserve func(n int64) error // room for them
}

// oid is an object id; a SHA-1 is followed by zeroes.
type oid [sha256.Size]byte

// known is a commit that was met in the pack, as a parent of one, or as the goal of an update.
type known struct {
	text    []byte // nil: it was not in the pack so far
	parents []oid
	from    uint64 // updates whose new commit leads here
}

// Bounds of a history.
const (
	maxUpdates     = 64       // of one push: bits of a word
	maxHistory     = 32 << 20 // bytes
	costOfCommit   = 512      // beside its text
	costOfAncestor = 256
)

var errHistory = fmt.Errorf("more than %d MiB of commits before it is known", maxHistory>>20)

// newHistory gives the history of a push's updates. Its creations have nothing to show.
func newHistory(p *pushRequest, reserve func(n int64) error) (*history, error) {
	h := &history{
		size: sha1.Size, commits: map[oid]*known{}, shallow: map[oid]bool{}, old: map[oid]uint64{}, left: maxHistory, reserve: reserve,
	}
	for _, id := range p.shallow {
		h.shallow[parseOID(id)] = true
	}
	for _, c := range p.commands {
		h.size = len(c.new) / 2
		if len(c.new) != len(p.commands[0].new) {
			return h, errors.New("object ids of two kinds")
		}
		if !c.creates() {
			h.updates = append(h.updates, c)
		}
	}
	if len(h.updates) > maxUpdates {
		return h, fmt.Errorf("more than %d updates at once", maxUpdates)
	}
	for i, c := range h.updates {
		h.old[parseOID(c.old)] |= 1 << i
		h.missing |= 1 << i
	}
	for i, c := range h.updates {
		h.reach(parseOID(c.new), 1<<i)
	}
	return h, nil
}

// parseOID reads what objectID has judged.
func parseOID(text string) (id oid) {
	_, _ = hex.Decode(id[:], []byte(text))
	return id
}

// complete says whether every update is shown to be a fast-forward.
func (h *history) complete() bool { return h.missing == 0 }

// hold makes room for n bytes.
func (h *history) hold(n uint64) error {
	if n > h.left {
		return errHistory
	}
	h.left -= n
	return h.reserve(int64(n))
}

// add takes a commit and gives its id.
func (h *history) add(text []byte) (oid, error) {
	id := h.name(text)
	c := h.commits[id]
	if c != nil && c.text != nil {
		return id, nil
	}
	if c == nil {
		c = &known{}
		h.commits[id] = c
	}
	c.text = text
	if !h.shallow[id] {
		c.parents = parents(text, h.size)
	}
	if err := h.hold(costOfCommit + costOfAncestor*uint64(len(c.parents))); err != nil {
		return id, err
	}
	if c.from != 0 {
		for _, p := range c.parents {
			h.reach(p, c.from)
		}
	}
	return id, nil
}

// name gives the id of a commit.
func (h *history) name(text []byte) (id oid) {
	sum := sha1.New()
	if h.size == sha256.Size {
		sum = sha256.New()
	}
	_, _ = fmt.Fprintf(sum, "commit %d\x00", len(text)) // a hash takes everything
	_, _ = sum.Write(text)
	sum.Sum(id[:0])
	return id
}

// parents reads the ids of a commit's parents as parse_commit_buffer of git's commit.c does: the lines right behind the first.
func parents(text []byte, size int) (ids []oid) {
	line, rest, _ := bytes.Cut(text, []byte("\n"))
	for bytes.HasPrefix(line, []byte("tree ")) || len(ids) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		id, ok := bytes.CutPrefix(line, []byte("parent "))
		if !ok || len(id) != 2*size || !objectID(string(id)) {
			break
		}
		ids = append(ids, parseOID(string(id)))
	}
	return ids
}

// reach takes down that the new commits of some updates lead to a commit, and so to all that it leads to. The work is bounded: an edge
// is walked at most once for each update.
func (h *history) reach(id oid, from uint64) {
	type step struct {
		id   oid
		from uint64
	}
	for todo := []step{{id, from}}; len(todo) > 0; {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		c := h.commits[s.id]
		if c == nil {
			c = &known{}
			h.commits[s.id] = c
		}
		fresh := s.from &^ c.from
		if fresh == 0 {
			continue
		}
		c.from |= fresh
		h.missing &^= fresh & h.old[s.id]
		for _, p := range c.parents {
			todo = append(todo, step{p, fresh})
		}
	}
}

// why says of an update what is wrong with it, or "". err is why no more of the pack was read.
func (h *history) why(c command, err error) string {
	const instead = "push to a new branch, or from outside the jail after review"
	to := h.commits[parseOID(c.new)]
	switch {
	case h.shows(c):
		return ""
	case err != nil:
		return "the door cannot tell whether this is a fast-forward: " + err.Error() + "; " + instead
	case to.text == nil:
		return "the server has its newest commit already, so the push does not show a fast-forward; put a commit on top, " + instead
	}
	return "not a fast-forward that the door sees: the commits of this push do not lead to what is there; " + instead
}

// shows says whether an update was found to be a fast-forward.
func (h *history) shows(c command) bool {
	old := h.commits[parseOID(c.old)]
	return old != nil && old.from>>slices.Index(h.updates, c)&1 == 1
}
