package sandbox

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzFollow holds the reader of links against filepath.EvalSymlinks: the same place, or none, for whatever links a project has.
func FuzzFollow(f *testing.F) {
	f.Add("d/x", "../e", "a/b", "a")
	f.Add("x", "x", ".", "x/..")
	f.Add("d/../e", "/nonexistent", "..", "a/../b/./c//")
	f.Fuzz(func(t *testing.T, one, two, three, name string) {
		if strings.ContainsRune(one+two+three+name, 0) || one == "" || two == "" || three == "" || max(len(one), len(two),
			len(three), len(name)) > 200 {
			return
		}
		dir, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{"d", "e"} {
			if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for at, text := range map[string]string{"a": one, "d/x": two, "e/b": three} {
			if os.Symlink(text, filepath.Join(dir, at)) != nil {
				return
			}
		}
		name = dir + "/" + name
		got, err := follow(diskFiles{}, name)
		// The kernel looks at what stands before ".."; so does EvalSymlinks.
		if err == nil && got.path != path.Clean(got.path) {
			t.Errorf("%s: %s is not clean", name, got.path)
		}
		var want, real unix.Stat_t
		if kernel := unix.Stat(name, &want); kernel == nil && err == nil {
			if err := unix.Lstat(got.path, &real); err != nil || real.Ino != want.Ino || real.Dev != want.Dev {
				t.Errorf("%q %q %q: %s leads to %s, and that is another file than the kernel's", one, two, three, name, got.path)
			}
		} else if kernel == nil {
			t.Errorf("%q %q %q: %s: %v, and the kernel finds it", one, two, three, name, err)
		}
	})
}

// FuzzGitFile: whatever a .git file says, and what it leads to, a git directory is taken only when it names the work tree itself.
func FuzzGitFile(f *testing.F) {
	f.Add("gitdir: /r/.git/worktrees/w\n", "/p/.git\n", "../..\n", "")
	f.Add("gitdir: ../r/.git", "", "", "[core]\n\tworktree = /p\n")
	f.Add("gitdir:/r/.git/worktrees/../worktrees/w", "../../../../p/.git", "/r/.git", "[core]worktree=../../p")
	f.Add("gitdir: /etc", "\x00", "..", "")
	f.Fuzz(func(t *testing.T, file, gitdir, common, config string) {
		m := memMachine(t, "/p/\n/r/.git/HEAD\n/r/.git/objects/\n/r/.git/refs/\n/r/.git/worktrees/w/HEAD\n/etc/passwd\n")
		m.put("/p/.git", &memNode{mode: 0o644, data: file})
		if gitdir != "" {
			m.put("/r/.git/worktrees/w/gitdir", &memNode{mode: 0o644, data: gitdir})
			m.put("/r/.git/worktrees/w/commondir", &memNode{mode: 0o644, data: common})
		}
		m.put("/r/.git/config", &memNode{mode: 0o644, data: config})
		l, err := linkedGitDir(m, "/p")
		if err != nil {
			return
		}
		back, ok := readPath(m, l.own, "gitdir")
		switch {
		case l.common != "/r/.git":
			t.Errorf("%q leads to %+v", file, l)
		case l.own != l.common && (!ok || back != "/p/.git"):
			t.Errorf("%q leads to %+v, which names %q", file, l, back)
		case l.own == l.common && !slices.ContainsFunc(gitConfig([]byte(config)),
			func(s gitSetting) bool { return s.section == "core" && s.key == "worktree" }):
			t.Errorf("%q leads to %+v, whose config names nothing", file, l)
		}
	})
}

// FuzzReceive: whatever comes from the gateway, one message is read, and packed again it is the same, and a length alone takes no memory
// beyond the bound.
func FuzzReceive(f *testing.F) {
	framed := func(m *message) []byte {
		body := m.pack()
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	}
	f.Add(framed(&message{GatewayGone: &gatewayGone{Status: 256}}))
	f.Add(framed(failed("mount", fmt.Errorf("mount /proc: %w", unix.EPERM))))
	f.Add(framed(&message{GatewaySockets: &gatewaySockets{More: true}}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add(framed(&message{GatewayLate: true}))
	f.Add(framed(&message{GatewayStart: &gatewayStart{Trees: []int{1, 70}, Ports: []uint16{443, 22}, Door: true, Hostname: "h", Namespaces: 256}}))
	f.Add([]byte{0, 0, 0, 2, 2, 0xff})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > 4<<10 {
			return // more would wait for a reader
		}
		a, b := channels(t)
		if _, err := a.conn.Write(raw); err != nil && len(raw) > 0 {
			t.Fatal(err)
		}
		a.Close()
		m, err := b.receive()
		switch {
		case len(raw) == 0 && err != io.EOF, len(raw) > 0 && len(raw) < 4 && err == nil:
			t.Errorf("%x: %v", raw, err)
		case err == nil:
			again := new(message)
			if err := again.unpack(m.pack()); err != nil || !reflect.DeepEqual(m, again) {
				t.Errorf("%q: %+v, packed again %+v, %v", raw, m, again, err)
			}
		}
		if files, err := (&message{}).claim(0); err != nil || len(files) != 0 {
			t.Error(err)
		}
	})
}

// FuzzInitEvent: an event of init's is one of its kinds, or an error.
func FuzzInitEvent(f *testing.F) {
	for kind := range 8 {
		f.Add(uint32(kind), uint32(3), uint32(9))
	}
	f.Fuzz(func(t *testing.T, kind, x, y uint32) {
		raw := binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, kind), x), y)
		a, b := channels(t)
		if _, err := a.conn.Write(raw); err != nil {
			t.Fatal(err)
		}
		a.Close()
		e, err := initChannel{b}.receive()
		if err != nil {
			if e != nil {
				t.Errorf("%v and %+v", err, e)
			}
			return
		}
		set := 0
		for _, is := range []bool{e.terminal != nil, e.running, e.stopped, e.exited != nil, e.unread, e.failed != nil} {
			if is {
				set++
			}
		}
		if set != 1 || e.terminal != nil { // no descriptor came
			t.Errorf("%d: %+v", kind, e)
		}
		if e.exited != nil && (e.exited.Code != int(int32(x)) || e.exited.Signal != int(int32(y))) {
			t.Errorf("%+v of %d %d", e.exited, x, y)
		}
	})
}

// FuzzDisguise: of a credential file the jail gets JSON in which the placeholders stand and no value that they stand for does.
func FuzzDisguise(f *testing.F) {
	f.Add([]byte(`{"claudeAiOauth":{"accessToken":"sk-ant-oat01-abcdefghijklmnop","expiresAt":1760000000000,"scopes":["a"]}}`),
		"/claudeAiOauth/accessToken")
	f.Add([]byte(`{"a":[{"b/c":"x","token":"aaaaaaaaaaaaaaaaaaaa"}],"d":"e"}`), "/a/0/b~1c")
	f.Add([]byte(`"text"`), "")
	f.Add([]byte(`{"a":{"a":"v"}} {"b":1}`), "/a/a")
	f.Fuzz(func(t *testing.T, data []byte, pointer string) {
		value, err := pick(data, pointer)
		if err != nil || len(value) < 8 {
			return
		}
		const placeholder = "PLACEHOLDER-0123456789"
		out, err := disguise(data, map[string]string{pointer: placeholder})
		if err != nil {
			t.Fatalf("%q %q: picked, and not disguised: %v", data, pointer, err)
		}
		if !bytes.Contains(out, []byte(placeholder)) {
			t.Errorf("%q %q: %q", data, pointer, out)
		}
		if pointer == "" {
			return
		}
		again, err := pick(out, pointer)
		if err != nil || again != placeholder {
			t.Errorf("%q %q: %q, %v", data, pointer, again, err)
		}
	})
}
