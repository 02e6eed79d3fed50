package egress

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
)

// shown says whether a pack shows that an update is a fast-forward, and what is said if not. reserved is what was kept for it.
func shown(pack io.Reader, p *pushRequest) (reserved int64, why string) {
	h, err := newHistory(p, func(n int64) error { reserved += n; return nil })
	if err == nil {
		err = readPack(io.LimitReader(pack, maxPackHeld), h)
	}
	for _, c := range p.commands {
		if !c.creates() && why == "" {
			why = h.why(c, err)
		}
	}
	return reserved, why
}

// TestReadPack: what a pack shows and what it does not. Whatever it is, the answer comes and what is kept is bounded.
func TestReadPack(t *testing.T) {
	old := idB
	text, tip := commitOn("one", old)
	second, onTip := commitOn("two", tip)
	merge, onBoth := commitOn("merge", idA, tip)
	const notSeen, notThere, unknown = "not a fast-forward", "already", "cannot tell"
	for _, tc := range []struct {
		name, to, says string
		pack           func(p *testPack) []byte
		shallow        []string
	}{
		{"one commit", tip, "", func(p *testPack) []byte { p.add(1, text); return p.bytes() }, nil},
		{"two, the newest first", onTip, "", func(p *testPack) []byte { p.add(1, second); p.add(1, text); return p.bytes() }, nil},
		{"two, the oldest first", onTip, "", func(p *testPack) []byte { p.add(1, text); p.add(1, second); return p.bytes() }, nil},
		{"a merge", onBoth, "", func(p *testPack) []byte { p.add(1, merge); p.add(1, text); return p.bytes() }, nil},
		{"behind other objects", tip, "", func(p *testPack) []byte {
			p.add(3, make([]byte, 1<<20))
			p.add(2, nil)
			p.add(4, []byte("tag"))
			p.entry(7, 3, unhexed(t, idA), []byte("\x00\x00\x00"))
			p.add(1, text)
			return p.bytes()
		}, nil},
		{"no trailer", tip, "", func(p *testPack) []byte { p.add(1, text); return p.bytes()[:p.objects.Len()+12] }, nil},
		{"version 3", tip, "", func(p *testPack) []byte { p.add(1, text); pack := p.bytes(); pack[7] = 3; return pack }, nil},
		{"OFS_DELTA", onTip, "", func(p *testPack) []byte {
			at := p.add(1, text)
			p.add(3, make([]byte, 1<<16))
			p.add(3, bytes.Repeat([]byte("noise"), 300))
			d := deltaTo(text, 46, 1, second[46:])
			p.entry(6, uint64(len(d)), offsetBack(int64(12+p.objects.Len())-at), d)
			return p.bytes()
		}, nil},
		{"REF_DELTA", onTip, "", func(p *testPack) []byte {
			p.add(1, text)
			d := deltaTo(text, 46, 1, second[46:])
			p.entry(7, uint64(len(d)), unhexed(t, tip), d)
			return p.bytes()
		}, nil},
		{"deltas on each other", onBoth, "", func(p *testPack) []byte {
			at := p.add(1, text)
			d := deltaTo(text, 46, 1, second[46:])
			next := p.entry(6, uint64(len(d)), offsetBack(int64(12+p.objects.Len())-at), d)
			d = deltaTo(second, 46, 1, merge[46:])
			p.entry(6, uint64(len(d)), offsetBack(int64(12+p.objects.Len())-next), d)
			return p.bytes()
		}, nil},

		{"nothing", tip, notThere, func(p *testPack) []byte { return p.bytes() }, nil},
		{"another commit", tip, notThere, func(p *testPack) []byte { p.add(1, second); return p.bytes() }, nil},
		{"one is missing", onTip, notSeen, func(p *testPack) []byte { p.add(1, second); return p.bytes() }, nil},
		{"shallow", onTip, notSeen, func(p *testPack) []byte { p.add(1, second); p.add(1, text); return p.bytes() }, []string{tip}},
		{"shallow elsewhere", onTip, "", func(p *testPack) []byte { p.add(1, second); p.add(1, text); return p.bytes() }, []string{old}},
		{"a blob with a commit's text", tip, notThere, func(p *testPack) []byte { p.add(3, text); return p.bytes() }, nil},
		{"parent behind the author", "", notSeen, func(p *testPack) []byte {
			p.add(1, []byte("tree "+idA+"\nauthor a\nparent "+old+"\n\n"))
			return p.bytes()
		}, nil},
		{"parent in the message", "", notSeen, func(p *testPack) []byte {
			text, _ := commitOn("\nparent " + old + "\n")
			p.add(1, text)
			return p.bytes()
		}, nil},
		{"parent without a tree", "", notSeen, func(p *testPack) []byte { p.add(1, []byte("parent "+old+"\n\n")); return p.bytes() }, nil},
		{"parent twice as long", "", notSeen, func(p *testPack) []byte {
			p.add(1, []byte("tree "+idA+"\nparent "+old+strings.Repeat("0", 24)+"\n\n"))
			return p.bytes()
		}, nil},
		{"thin", onTip, notThere, func(p *testPack) []byte {
			d := deltaTo(text, 46, 1, second[46:])
			p.entry(7, uint64(len(d)), unhexed(t, tip), d)
			p.add(1, text) // git would put it first
			return p.bytes()
		}, nil},
		{"delta of a blob", onTip, notThere, func(p *testPack) []byte {
			at := p.add(3, text)
			d := deltaTo(text, 46, 1, second[46:])
			p.entry(6, uint64(len(d)), offsetBack(int64(12+p.objects.Len())-at), d)
			return p.bytes()
		}, nil},
		{"delta of itself", tip, notThere, func(p *testPack) []byte { p.entry(6, 3, offsetBack(0), []byte("abc")); return p.bytes() }, nil},
		{"delta of what comes later", tip, notThere, func(p *testPack) []byte {
			p.entry(7, 3, unhexed(t, onTip), []byte("abc"))
			p.entry(7, 3, unhexed(t, tip), []byte("abc"))
			return p.bytes()
		}, nil},
		{"delta of what is in front of the pack", tip, unknown, func(p *testPack) []byte { p.entry(6, 3, offsetBack(math.MaxInt64), []byte("abc")); return p.bytes() }, nil},
		{"delta that copies too much", tip, unknown, func(p *testPack) []byte {
			p.add(1, second)
			d := deltaTo(second, len(second)+1, 1, nil)
			p.entry(7, uint64(len(d)), unhexed(t, onTip), d)
			return p.bytes()
		}, nil},
		{"delta that claims another size", tip, unknown, func(p *testPack) []byte {
			p.add(1, second)
			d := append(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(len(second))), 7), 1, 'x')
			p.entry(7, uint64(len(d)), unhexed(t, onTip), d)
			return p.bytes()
		}, nil},
		{"delta bomb", tip, unknown, func(p *testPack) []byte {
			text, id := second, onTip
			for range 20 {
				d := deltaTo(text, min(len(text), 1<<16-1), 100, nil)
				p.entry(7, uint64(len(d)), unhexed(t, id), d)
				text = bytes.Repeat(text[:min(len(text), 1<<16-1)], 100)
				sum := sha1.Sum(fmt.Appendf(nil, "commit %d\x00%s", len(text), text))
				id = hex.EncodeToString(sum[:])
			}
			whole := &testPack{}
			whole.add(1, second)
			whole.objects.Write(p.objects.Bytes())
			whole.n += p.n
			return whole.bytes()
		}, nil},
		{"zlib bombs", tip, unknown, func(p *testPack) []byte {
			p.add(3, make([]byte, 128<<20))
			one := bytes.Clone(p.objects.Bytes())
			for range 4 {
				p.objects.Write(one)
				p.n++
			}
			return p.bytes()
		}, nil},
		{"a bomb that claims little", tip, unknown, func(p *testPack) []byte { p.entry(3, 10, nil, make([]byte, 10<<20)); return p.bytes() }, nil},
		{"a commit that is a bomb", tip, unknown, func(p *testPack) []byte { p.add(1, make([]byte, maxHistory+1)); return p.bytes() }, nil},
		{"a commit that claims little", tip, unknown, func(p *testPack) []byte { p.entry(1, 10, nil, make([]byte, 10<<20)); return p.bytes() }, nil},
		{"a commit that claims much", tip, unknown, func(p *testPack) []byte { p.entry(1, 1<<20, nil, text); return p.bytes() }, nil},
		{"a size of 2⁶³", tip, unknown, func(p *testPack) []byte { p.entry(3, 1<<63, nil, nil); return p.bytes() }, nil},
		{"many commits", tip, unknown, func(p *testPack) []byte {
			for i := range 100_000 {
				p.add(1, fmt.Appendf(nil, "%d", i))
			}
			return p.bytes()
		}, nil},
		{"many objects", tip, unknown, func(p *testPack) []byte {
			for p.objects.Len() < maxPackHeld {
				p.add(3, nil)
			}
			return p.bytes()
		}, nil},
		{"type 0", tip, unknown, func(p *testPack) []byte { p.add(0, nil); return p.bytes() }, nil},
		{"type 5", tip, unknown, func(p *testPack) []byte { p.add(5, nil); return p.bytes() }, nil},
		{"more objects than there are", tip, unknown, func(p *testPack) []byte { p.add(1, second); p.n = math.MaxUint32; return p.bytes() }, nil},
		{"cut", tip, unknown, func(p *testPack) []byte { p.add(1, text); return p.bytes()[:40] }, nil},
		{"bad checksum", tip, unknown, func(p *testPack) []byte { p.add(1, text); pack := p.bytes(); pack[len(pack)-21] ^= 1; return pack }, nil},
		{"version 4", tip, unknown, func(p *testPack) []byte { p.add(1, text); pack := p.bytes(); pack[7] = 4; return pack }, nil},
		{"no pack", tip, unknown, func(p *testPack) []byte { return nil }, nil},
		{"text", tip, unknown, func(p *testPack) []byte { return []byte("what is this? no pack") }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pack := tc.pack(&testPack{})
			if tc.to == "" { // whatever commit is in it
				h, _ := newHistory(&pushRequest{commands: []command{{idA, idB, "x"}}}, func(int64) error { return nil })
				_ = readPack(bytes.NewReader(pack), h)
				for id, c := range h.commits {
					if c.text != nil {
						tc.to = hex.EncodeToString(id[:20])
					}
				}
			}
			p := &pushRequest{commands: []command{{old, tc.to, "refs/heads/x"}}, shallow: tc.shallow}
			reserved, why := shown(bytes.NewReader(pack), p)
			if (why == "") != (tc.says == "") || !strings.Contains(why, tc.says) {
				t.Errorf("%q", why)
			}
			if reserved > maxHistory {
				t.Errorf("%d bytes kept", reserved)
			}
			if len(pack) < 4096 {
				if _, again := shown(iotest.OneByteReader(bytes.NewReader(append(pack, "garbage"...))), p); (again == "") != (why == "") {
					t.Errorf("with garbage behind it, byte by byte: %q, not %q", again, why)
				}
			}
		})
	}
}

// TestHistoryOfSeveral: each update of a push has to show itself, and creations nothing.
func TestHistoryOfSeveral(t *testing.T) {
	text, tip := commitOn("one", idB)
	second, onTip := commitOn("two", tip)
	pack := &testPack{}
	pack.add(1, second)
	pack.add(1, text)
	for _, tc := range []struct {
		commands []command
		says     string
	}{
		{[]command{{idZero, idA, "a"}}, ""},
		{[]command{{idZero, idA, "a"}, {idB, tip, "b"}, {idB, onTip, "c"}, {tip, onTip, "d"}, {tip, tip, "e"}}, ""},
		{[]command{{idB, tip, "b"}, {onTip, tip, "c"}}, "not a fast-forward"},
		{[]command{{idB, tip, "b"}, {idB, idA, "c"}}, "already"},
		{[]command{{idB, tip, "b"}, {idB + idB[:24], idB + idB[:24], "c"}}, "two kinds"},
		{timesOf(command{idB, tip, "b"}, maxUpdates), ""},
		{timesOf(command{idB, tip, "b"}, maxUpdates+1), "more than 64 updates"},
	} {
		if _, why := shown(bytes.NewReader(pack.bytes()), &pushRequest{commands: tc.commands}); (why == "") != (tc.says == "") || !strings.Contains(why, tc.says) {
			t.Errorf("%v: %q", tc.commands, why)
		}
	}
	no := errors.New("no room")
	h, err := newHistory(&pushRequest{commands: []command{{idB, tip, "b"}}}, func(int64) error { return no })
	if err = errors.Join(err, readPack(bytes.NewReader(pack.bytes()), h)); !errors.Is(err, no) || h.complete() {
		t.Errorf("without room: %v", err)
	}
}

// timesOf gives n updates of different refs.
func timesOf(c command, n int) (commands []command) {
	for i := range n {
		commands = append(commands, command{c.old, c.new, fmt.Sprint(c.ref, i)})
	}
	return commands
}
