package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/agentjail/agentjail/sandbox"
)

// written opens, lets the command act, writes, and gives what is in name then.
func written(t *testing.T, name string, command func()) (*sandbox.Report, error) {
	t.Helper()
	r, err := openReport(name)
	if err != nil {
		t.Fatal(err)
	}
	if command != nil {
		command()
	}
	if err := r.write(&sandbox.Report{Version: 1, Session: "s"}); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var got sandbox.Report
	return &got, json.Unmarshal(text, &got)
}

func only(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if len(got) != len(want) {
		t.Errorf("%s holds %q, want %q", dir, got, want)
	}
}

func TestRecord(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "report.json")
	if err := os.WriteFile(name, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := written(t, name, func() {
		only(t, dir, "report.json")
		if text := readFile(t, name); text != "old" {
			t.Errorf("touched before the run ended: %q", text)
		}
	})
	if err != nil || got.Session != "s" {
		t.Fatalf("%+v, %v", got, err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	only(t, dir, "report.json")
}

// TestRecordLink: a command that plants a link at FILE, or swaps the directory, sends our write nowhere else.
func TestRecordLink(t *testing.T) {
	for _, test := range []struct {
		name  string
		plant func(dir, victims string) error
		in    string // where the report is to be found
	}{
		{"FILE", func(dir, victims string) error {
			return os.Symlink(filepath.Join(victims, "report.json"), filepath.Join(dir, "report.json"))
		}, ""},
		{"the directory", func(dir, victims string) error {
			if err := os.Rename(dir, dir+".moved"); err != nil {
				return err
			}
			return os.Symlink(victims, dir)
		}, ".moved"},
	} {
		t.Run(test.name, func(t *testing.T) {
			top := t.TempDir()
			dir, victims := filepath.Join(top, "out"), filepath.Join(top, "victims")
			for _, d := range []string{dir, victims} {
				if err := os.Mkdir(d, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			victim := filepath.Join(victims, "report.json")
			if err := os.WriteFile(victim, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := written(t, filepath.Join(dir, "report.json"), func() {
				if err := test.plant(dir, victims); err != nil {
					t.Fatal(err)
				}
				// The control: a plain write through the same name would hit the victim.
				if text := readFile(t, filepath.Join(dir, "report.json")); text != "precious" {
					t.Fatalf("the plant does not work: %q", text)
				}
			}); err != nil && test.in == "" {
				t.Fatal(err)
			}
			if text := readFile(t, victim); text != "precious" {
				t.Errorf("the victim is %q", text)
			}
			if info, err := os.Lstat(filepath.Join(dir+test.in, "report.json")); err != nil || !info.Mode().IsRegular() {
				t.Errorf("the report is not in its place: %v", err)
			}
		})
	}
}

func TestRecordRefused(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{dir, filepath.Join(dir, "missing", "report.json"), "/proc/report.json"} {
		if _, err := openReport(name); err == nil {
			t.Errorf("%s: no error before the run", name)
		}
	}
}

func TestRecordPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	record, err := openReport("/dev/fd/" + strconv.Itoa(int(w.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if err := record.write(&sandbox.Report{Version: 1, Session: "piped"}); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r) // ends: no copy of the writing end is left
	var got sandbox.Report
	if err != nil || json.Unmarshal(text, &got) != nil || got.Session != "piped" {
		t.Errorf("%q, %v", text, err)
	}
}

// A link in the project that is followed may be an earlier command's, one outside is the user's.
func TestRecordLinkOutOfTheProject(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	project := filepath.Join(top, "project")
	for _, dir := range []string{"project", "project/in", "out"} {
		if err := os.Mkdir(filepath.Join(top, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"project/leaves": "../out", "project/stays": "in", "project/file.json": "../out/file.json", "enters": "project/leaves", "user": "out",
		"project/null": "/dev/null",
	} {
		if err := os.Symlink(to, filepath.Join(top, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, refused := range map[string]bool{
		"project/leaves/r.json": true, "project/file.json": false, "enters/r.json": true, "project/null": true,
		"project/stays/r.json": false, "project/in/r.json": false, "user/r.json": false, "out/r.json": false,
	} {
		r, err := openReport(top + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.outside(project); (err != nil) != refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.Symlink("loop", filepath.Join(project, "loop")); err != nil {
		t.Fatal(err)
	}
	if _, err := openReport(filepath.Join(project, "loop")); err == nil {
		t.Error("a loop was resolved")
	}
}
