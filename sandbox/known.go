package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// A look for repositories has bounds, and what a jail does to the project can put a repository beyond them: a hundred directories
// before it, or one above it that cannot be read. A hidden link can be replaced by a file, so that no look finds what it led to. So those
// that were found once are kept in agentjail's state, one file a project, where no jail can write, and the next plan looks at them
// directly. The plan reads; Run writes. Names are bytes, so each is quoted as in Go.
//
//	repository "/home/u/p/vendor/lib"
//	hidden "/home/u/p/.env" "/home/u/p/shared/prod"

// known is what that file says.
type known struct {
	repos  []string
	hidden []HiddenLink
}

// maxKnown bounds what is read of it. Bytes.
const maxKnown = 1 << 20

func knownFile(h *Host, project string) string {
	return path.Join(h.StateDir, "projects", shortHash(project))
}

func (k known) String() string {
	var b strings.Builder
	for _, dir := range k.repos {
		fmt.Fprintf(&b, "repository %q\n", dir)
	}
	for _, l := range k.hidden {
		fmt.Fprintf(&b, "hidden %q %q\n", l.Path, l.Target)
	}
	return b.String()
}

func parseKnown(text string) (k known, err error) {
	for line := range strings.Lines(text) {
		var name, target string
		if n, _ := fmt.Sscanf(line, "repository %q\n", &name); n == 1 {
			k.repos = append(k.repos, name)
		} else if n, _ := fmt.Sscanf(line, "hidden %q %q\n", &name, &target); n == 2 {
			k.hidden = append(k.hidden, HiddenLink{name, target})
		} else {
			return known{}, fmt.Errorf("line %q", line)
		}
	}
	return k, nil
}

// recall gives what earlier runs knew of.
func recall(h *Host, f Files, project string) (known, error) {
	data, err := f.ReadFile(knownFile(h, project), maxKnown)
	if missing(err) {
		return known{}, nil
	}
	var k known
	if err == nil {
		k, err = parseKnown(string(data))
	}
	if err != nil {
		return known{}, fmt.Errorf("%s: %w", knownFile(h, project), err)
	}
	outside := func(name string) bool { return name != path.Clean(name) || !within(name, project) }
	k.repos = slices.DeleteFunc(k.repos, outside)
	k.hidden = slices.DeleteFunc(k.hidden, func(l HiddenLink) bool { return outside(l.Path) || outside(l.Target) })
	return k, nil
}

// remember keeps it for the next plan. The project itself is found without, and what is gone is forgotten.
func remember(h *Host, project string, now known) error {
	old, err := recall(h, h.FS, project)
	now = known{slices.Concat(now.repos, old.repos), slices.Concat(now.hidden, old.hidden)} // another run in this project may have added some
	now.repos = slices.DeleteFunc(now.repos, func(dir string) bool { return dir == project || !isRepo(h.FS, dir) })
	now.hidden = slices.DeleteFunc(now.hidden, func(l HiddenLink) bool {
		_, err := h.FS.Lstat(l.Target)
		return missing(err)
	})
	slices.Sort(now.repos)
	now.repos = slices.Compact(now.repos)
	slices.SortFunc(now.hidden, func(a, b HiddenLink) int { return strings.Compare(a.Path+"\x00"+a.Target, b.Path+"\x00"+b.Target) })
	now.hidden = slices.Compact(now.hidden)
	if err == nil && old.String() == now.String() {
		return nil
	}
	if err := replaceFile(knownFile(h, project), now.String()); err != nil {
		return fmt.Errorf("remember the project's repositories and hidden files: %w", err)
	}
	return nil
}

// replaceFile puts a file of agentjail's state in its place at once: two runs may write it.
func replaceFile(name, text string) error {
	if err := os.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(path.Dir(name), ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
