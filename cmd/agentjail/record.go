package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/agentjail/agentjail/sandbox"
)

// recordFile is where --report goes. Its directory is opened before the run and held: the command may own that directory, and must
// not be able to send our write elsewhere by swapping it, or FILE, for a symbolic link.
type recordFile struct {
	name   string   // as given
	dir    *os.Root // the directory of a plain file
	stream *os.File // FILE when it is a pipe, a terminal or /dev/fd/N
}

// openReport finds out, before anything runs, whether the report can be written. "" gives a record that writes nothing.
func openReport(name string) (*recordFile, error) {
	if name == "" {
		return &recordFile{}, nil
	}
	if name == "-" {
		return nil, usage("--report /dev/stderr, or ./- for a file of that name", "--report -: standard output is the command's")
	}
	r := &recordFile{name: name}
	if err := r.open(); err != nil {
		return nil, usage("agentjail --report report.json -- COMMAND", "--report: %w", err)
	}
	return r, nil
}

func (r *recordFile) open() error {
	info, err := os.Stat(r.name)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a directory", r.name)
	case err == nil && !info.Mode().IsRegular():
		r.stream, err = os.OpenFile(r.name, os.O_WRONLY, 0)
		return err
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if r.dir, err = os.OpenRoot(filepath.Dir(r.name)); err != nil {
		return err
	}
	f, temporary, err := r.create() // by doing: permission bits do not know of read-only and full file systems
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, 4<<10)) // an empty file needs no room
	return errors.Join(err, f.Close(), r.dir.Remove(temporary))
}

// create makes a file of ours beside FILE.
func (r *recordFile) create() (*os.File, string, error) {
	temporary := ".agentjail-report-" + rand.Text()
	f, err := r.dir.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_ = f.Chmod(0o600) // the umask may have taken these too; FAT has none
	}
	return f, temporary, err
}

// write puts the report in its place at once: who reads FILE sees all of it or what was there before.
func (r *recordFile) write(report *sandbox.Report) error {
	if r == nil || r.name == "" {
		return nil
	}
	text, err := indented(report)
	if err == nil {
		err = r.put(text)
	}
	if err != nil {
		return fmt.Errorf("--report %s: %w", r.name, err)
	}
	return nil
}

func (r *recordFile) put(text []byte) error {
	if r.stream != nil {
		return errors.Join(writeJSON(r.stream, text), r.stream.Close())
	}
	defer r.dir.Close()
	f, temporary, err := r.create()
	if err != nil {
		return err
	}
	if err := errors.Join(writeJSON(f, text), f.Close()); err != nil {
		return errors.Join(err, r.dir.Remove(temporary))
	}
	if err := r.dir.Rename(temporary, filepath.Base(r.name)); err != nil {
		return errors.Join(err, r.dir.Remove(temporary))
	}
	return nil
}
