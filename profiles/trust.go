package profiles

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Trust remembers which content of a project's own profile the user has agreed to. It is one file for each project, named by
// the hash of the project's canonical path, that holds the hash of the content and, for people, the path. So a changed file, a
// moved project and another project with the same file are not trusted.
type Trust struct {
	Dir string // $XDG_STATE_HOME/agentjail/trust; made 0700 when missing. No jail may write it.
}

// Has says whether the user has agreed to exactly this content in exactly this project.
func (t Trust) Has(dir string, content []byte) (bool, error) {
	name, record, err := t.record(dir, content)
	if err != nil {
		return false, err
	}
	got, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &Error{Step: "trust", Err: err}
	}
	return bytes.Equal(got, record), nil
}

// Add stores that the user has agreed to content, in place of what was agreed to before.
func (t Trust) Add(dir string, content []byte) error {
	name, record, err := t.record(dir, content)
	if err != nil {
		return err
	}
	if err := writeFile(name, record); err != nil {
		return &Error{Step: "trust", Err: err}
	}
	return nil
}

// Remove forgets the project; it is no error when it was not trusted.
func (t Trust) Remove(dir string) error {
	name, _, err := t.record(dir, nil)
	if err != nil {
		return err
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &Error{Step: "trust", Err: err}
	}
	return nil
}

func (t Trust) record(dir string, content []byte) (name string, record []byte, err error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		abs, err = filepath.EvalSymlinks(abs)
	}
	if err != nil {
		return "", nil, &Error{Step: "trust", Err: fmt.Errorf("find the project %s: %w", printable(dir), cause(err))}
	}
	path, sum := sha256.Sum256([]byte(abs)), sha256.Sum256(content)
	return filepath.Join(t.Dir, hex.EncodeToString(path[:])), fmt.Appendf(nil, "sha256:%x %q\n", sum, abs), nil
}

// writeFile puts data in place of the file at once or not at all (rename(2)); the file is 0600, its directory 0700 when made.
func writeFile(name string, data []byte) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
