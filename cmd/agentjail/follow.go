package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
)

// tail reads a growing file: at its end it waits for inotify(7) to tell of more.
type tail struct {
	file   *os.File
	events *os.File
	gone   bool // the file was taken away, or nobody writes it any more: read what is left
}

// follow begins to watch f. The watch stands before the first read, so nothing falls in between.
func follow(f *os.File) (*tail, error) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify_init1: %w", err)
	}
	events := os.NewFile(uintptr(fd), "inotify")
	const mask = syscall.IN_MODIFY | syscall.IN_DELETE_SELF | syscall.IN_MOVE_SELF
	if _, err := syscall.InotifyAddWatch(fd, f.Name(), mask); err != nil {
		events.Close()
		return nil, fmt.Errorf("inotify_add_watch %s: %w", f.Name(), err)
	}
	return &tail{file: f, events: events}, nil
}

// lookAgain is how often a file that does not grow is asked whether somebody writes it.
const lookAgain = time.Second

// Read reads what is there, or waits. It ends when the file is taken away, or nobody writes it: its writer has it locked (flock(2)).
func (t *tail) Read(p []byte) (int, error) {
	var buffer [4096]byte // a watch on a file gives events without a name: 16 bytes each
	for {
		n, err := t.file.Read(p)
		if n > 0 || t.gone || !errors.Is(err, io.EOF) {
			return n, err
		}
		if err := t.events.SetReadDeadline(time.Now().Add(lookAgain)); err != nil {
			return 0, err
		}
		n, err = t.events.Read(buffer[:])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.gone = syscall.Flock(int(t.file.Fd()), syscall.LOCK_SH|syscall.LOCK_NB) == nil
			continue
		}
		if err != nil {
			return 0, err
		}
		for at := 0; at+syscall.SizeofInotifyEvent <= n; at += syscall.SizeofInotifyEvent {
			mask := binary.NativeEndian.Uint32(buffer[at+4:]) // wd, mask, cookie, len
			t.gone = t.gone || mask&syscall.IN_MODIFY == 0
		}
	}
}

func (t *tail) close() { t.events.Close() }
