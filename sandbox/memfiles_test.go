package sandbox

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// memFiles is a made-up machine. It counts the questions that it is asked, and has no way to be changed by a plan.
type memFiles struct {
	nodes map[string]*memNode
	names map[string][]string // sorted names in a directory
	calls int
	mu    sync.Mutex // of calls in Rights
}

// memNode is one file; it is its own fs.FileInfo.
type memNode struct {
	name string
	mode fs.FileMode
	data string // of a link: its text
	stat syscall.Stat_t
	size int64
}

func (n *memNode) Name() string       { return n.name }
func (n *memNode) Size() int64        { return n.size }
func (n *memNode) Mode() fs.FileMode  { return n.mode }
func (n *memNode) ModTime() time.Time { return time.Time{} }
func (n *memNode) IsDir() bool        { return n.mode.IsDir() }
func (n *memNode) Sys() any           { return &n.stat }

func (f *memFiles) Lstat(name string) (fs.FileInfo, error) {
	f.calls++
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		if n := f.nodes[dir]; n != nil && n.IsDir() && n.mode&0o100 == 0 {
			return nil, &fs.PathError{Op: "lstat", Path: name, Err: syscall.EACCES}
		}
	}
	if n := f.nodes[name]; n != nil {
		return n, nil
	}
	return nil, &fs.PathError{Op: "lstat", Path: name, Err: syscall.ENOENT}
}

func (f *memFiles) Rights(dir string, max int) (r rights) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entries, err := f.ReadDir(dir, max)
	r.looks, r.err = len(entries), err
	for _, e := range entries {
		switch n := f.nodes[path.Join(dir, e.Name())]; {
		case e.IsDir():
			r.dirs = append(r.dirs, e.Name())
		case n.mode&0o6000 != 0:
			r.giving = append(r.giving, e.Name())
		}
	}
	return r
}

func (f *memFiles) CountsLinks(string) bool { return false }

func (f *memFiles) Readlink(name string) (string, error) {
	f.calls++
	if n := f.nodes[name]; n != nil && n.mode&fs.ModeSymlink != 0 {
		return n.data, nil
	}
	return "", &fs.PathError{Op: "readlink", Path: name, Err: syscall.EINVAL}
}

// ReadFile follows links, as open(2) does.
func (f *memFiles) ReadFile(name string, max int) ([]byte, error) {
	p, err := follow(f, name)
	f.calls++
	if err != nil {
		return nil, err
	}
	n := p.info.(*memNode)
	if n.mode&0o400 == 0 {
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
	}
	if !n.mode.IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: syscall.EINVAL}
	}
	return []byte(n.data[:min(len(n.data), max)]), nil
}

func (f *memFiles) ReadDir(name string, max int) ([]fs.DirEntry, error) {
	f.calls++
	n := f.nodes[name]
	if n == nil || !n.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: syscall.ENOENT}
	}
	if n.mode&0o400 == 0 {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: syscall.EACCES}
	}
	var entries []fs.DirEntry
	for _, child := range f.names[name] {
		if max >= 0 && len(entries) == max {
			break
		}
		entries = append(entries, fs.FileInfoToDirEntry(f.nodes[path.Join(name, child)]))
	}
	return entries, nil
}

// put makes a node, and the directories above it where they are missing, with the owner of what they lie in.
func (f *memFiles) put(name string, n *memNode) {
	if name != "/" && f.nodes[path.Dir(name)] == nil {
		f.put(path.Dir(name), &memNode{mode: fs.ModeDir | 0o755, stat: f.inherited(path.Dir(name))})
	}
	n.name = path.Base(name)
	n.stat.Nlink = max(n.stat.Nlink, 1)
	n.size = max(n.size, int64(len(n.data)))
	if f.nodes[name] == nil && name != "/" {
		dir := path.Dir(name)
		at, _ := slices.BinarySearch(f.names[dir], n.name)
		f.names[dir] = slices.Insert(f.names[dir], at, n.name)
	}
	f.nodes[name] = n
}

// memMachine reads a tree, one file a line:
//
//	/a/dir/
//	/a/link -> target
//	/a/file 0755 uid=1000 nlink=2 = "content"
//
// The mode is 0644 and the owner 0 where none is given; what lies below a directory has its owner, unless it has its own.
func memMachine(t testing.TB, lines string) *memFiles {
	t.Helper()
	f := &memFiles{nodes: make(map[string]*memNode), names: make(map[string][]string)}
	f.put("/", &memNode{mode: fs.ModeDir | 0o755})
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if err := f.parse(line); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
	}
	return f
}

func (f *memFiles) parse(line string) error {
	if name, text, ok := strings.Cut(line, " -> "); ok {
		f.put(name, &memNode{mode: fs.ModeSymlink | 0o777, data: text, stat: f.inherited(name)})
		return nil
	}
	head, quoted, hasData := strings.Cut(line, " = ")
	words := strings.Fields(head)
	name, isDir := strings.CutSuffix(words[0], "/")
	n := &memNode{mode: 0o644, stat: f.inherited(name)}
	if isDir {
		n.mode = fs.ModeDir | 0o755
	}
	for _, w := range words[1:] {
		key, value, ok := strings.Cut(w, "=")
		base := 0
		if !ok {
			key, value, base = "mode", w, 8
		}
		number, err := strconv.ParseUint(value, base, 32)
		if err != nil {
			return err
		}
		switch key {
		case "mode":
			n.mode = n.mode&fs.ModeType | fs.FileMode(number)
		case "uid":
			n.stat.Uid = uint32(number)
			n.stat.Gid = uint32(number)
		case "nlink":
			for range number { // the field has not the same type on every architecture
				n.stat.Nlink++
			}
		case "size":
			n.size = int64(number)
		default:
			return fmt.Errorf("unknown key %s", key)
		}
	}
	if hasData {
		data, err := strconv.Unquote(quoted)
		if err != nil {
			return err
		}
		n.data = data
	}
	f.put(name, n)
	return nil
}

func (f *memFiles) inherited(name string) syscall.Stat_t {
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		if n := f.nodes[dir]; n != nil {
			return syscall.Stat_t{Uid: n.stat.Uid, Gid: n.stat.Gid}
		}
	}
	return syscall.Stat_t{}
}
