package egress

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// gitDir is a repository for tests that look at git's own packs.
type gitDir struct {
	t   *testing.T
	dir string
}

// run gives what git prints, and whether it succeeded.
func (g gitDir) run(stdin string, args ...string) (string, bool) {
	g.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", g.dir}, args...)...)
	cmd.Env = append(cmd.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C")
	cmd.Stdin = strings.NewReader(stdin)
	var out, says bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &says
	err := cmd.Run()
	if err != nil && says.Len() > 0 {
		g.t.Fatalf("git %q: %v: %s", args, err, &says)
	}
	return out.String(), err == nil
}

// grow makes a random history of n commits, with merges and with long messages that are deltas of each other, and gives their ids.
func (g gitDir) grow(r *rand.Rand, n int) []string {
	g.t.Helper()
	message := make([]string, 100)
	for i := range message {
		message[i] = fmt.Sprintf("word %x of a long message\n", r.Uint64())
	}
	var in strings.Builder
	for i := range n {
		message[r.IntN(len(message))] = fmt.Sprintf("changed %x\n", r.Uint64())
		text := strings.Join(message, "")
		fmt.Fprintf(&in, "commit refs/heads/b%d\nmark :%d\ncommitter a <a@example.com> %d +0000\ndata %d\n%s\n", i, i+1, 1e9+i, len(text), text)
		if i > 0 && r.IntN(20) > 0 {
			fmt.Fprintf(&in, "from :%d\n", max(1, i-r.IntN(4)))
			for range r.IntN(3) / 2 * (1 + r.IntN(2)) {
				fmt.Fprintf(&in, "merge :%d\n", 1+r.IntN(i))
			}
		}
		blob := strings.Repeat(fmt.Sprintf("line %d\n", r.IntN(9)), 200)
		fmt.Fprintf(&in, "M 644 inline f%d\ndata %d\n%s\n", r.IntN(5), len(blob), blob)
	}
	g.run(in.String(), "fast-import", "--quiet", "--force")
	ids := make([]string, n)
	for i := range ids {
		id, _ := g.run("", "rev-parse", fmt.Sprint("b", i))
		ids[i] = strings.TrimSpace(id)
	}
	return ids
}

// TestPacksOfGit: a pack that git makes for a push shows a fast-forward exactly where git says that there is one; a pack from which something
// is missing that the server has may show less and never more.
func TestPacksOfGit(t *testing.T) {
	how := [][]string{
		{}, {"--delta-base-offset"}, {"--thin"}, {"--thin", "--delta-base-offset"}, {"--window=0"}, {"--depth=1"}, {"--depth=250", "--window=50"},
		{"--no-reuse-delta", "--delta-base-offset"}, {"--no-reuse-object"}, {"--threads=1", "--compression=0"},
	}
	for _, format := range []string{"sha1", "sha256"} {
		t.Run(format, func(t *testing.T) {
			g := gitDir{t, t.TempDir()}
			g.run("", "init", "-q", "--bare", "--object-format="+format)
			// With bitmaps, which only bare repositories have by default, a thin pack may have commits that are deltas of the server's.
			g.run("", "config", "repack.writeBitmaps", "false")
			seed := rand.Uint64()
			r := rand.New(rand.NewPCG(seed, 0))
			ids := g.grow(r, 60)
			g.run("", "repack", "-q", "-a", "-d", "-f", "--depth=20", "--window=20")
			deltas, yes := 0, 0
			for i := range 120 {
				old, to := r.IntN(len(ids)), r.IntN(len(ids))
				if r.IntN(4) > 0 { // else hardly ever an ancestor
					old, to = min(old, to), max(old, to)
				}
				args := append([]string{"pack-objects", "-q", "--revs", "--stdout"}, how[i%len(how)]...)
				wants := ids[to] + "\n^" + ids[old] + "\n"
				whole := r.IntN(3) > 0
				if !whole {
					wants += "^" + ids[r.IntN(len(ids))] + "\n"
				}
				pack, _ := g.run(wants, args...)
				_, want := g.run("", "merge-base", "--is-ancestor", ids[old], ids[to])
				_, why := shown(strings.NewReader(pack), &pushRequest{commands: []command{{ids[old], ids[to], "refs/heads/x"}}})
				if got := why == ""; got != want && (whole || got) {
					t.Errorf("seed %d, try %d, %q, %s..%s: shown is %v, git says %v: %s", seed, i, args, ids[old], ids[to], got, want, why)
				} else if got {
					yes++
				}
				deltas += g.deltas(pack)
			}
			if deltas < 10 || yes < 10 {
				t.Errorf("control: %d deltas of commits, %d fast-forwards", deltas, yes)
			}
		})
	}
}

// deltas counts the commits of a pack that are deltas, as git sees it.
func (g gitDir) deltas(pack string) (n int) {
	name, _ := g.run(pack, "index-pack", "--stdin", "--fix-thin")
	_, hash, _ := strings.Cut(strings.TrimSpace(name), "\t")
	list, _ := g.run("", "verify-pack", "-v", "objects/pack/pack-"+hash+".idx")
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) == 7 && f[1] == "commit" {
			n++
		}
	}
	return n
}

// FuzzReadPack: whatever the pack, what it shows is true: there are texts whose hashes lead from the new commit to the old one. And
// what is kept for it is bounded.
func FuzzReadPack(f *testing.F) {
	text, tip := commitOn("one", idB)
	second, onTip := commitOn("two", tip)
	for _, kind := range []byte{1, 6, 7} {
		pack := &testPack{}
		at := pack.add(1, text)
		switch d := deltaTo(text, 46, 1, second[46:]); kind {
		case 6:
			pack.entry(6, uint64(len(d)), offsetBack(int64(12+pack.objects.Len())-at), d)
		case 7:
			id := parseOID(tip)
			pack.entry(7, uint64(len(d)), id[:20], d)
		default:
			pack.add(1, second)
		}
		pack.add(3, []byte("blob"))
		f.Add(pack.bytes())
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var reserved int64
		c := command{idB, onTip, "refs/heads/x"}
		h, err := newHistory(&pushRequest{commands: []command{c}}, func(n int64) error { reserved += n; return nil })
		if err != nil {
			t.Fatal(err)
		}
		err = readPack(bytes.NewReader(in), h)
		if h.shows(c) != h.complete() || err != nil && h.complete() {
			t.Errorf("complete %v, shows %v: %v", h.complete(), h.shows(c), err)
		}
		if reserved > maxHistory {
			t.Errorf("%d bytes kept", reserved)
		}
		if !h.complete() {
			return
		}
		for _, id := range []string{onTip, tip} {
			text := h.commits[parseOID(id)].text
			if sum := sha1.Sum([]byte("commit " + strconv.Itoa(len(text)) + "\x00" + string(text))); fmt.Sprintf("%x", sum) != id {
				t.Errorf("%s is %q", id, text)
			}
		}
	})
}
