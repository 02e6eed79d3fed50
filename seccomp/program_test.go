package seccomp

import (
	"bytes"
	"os"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
)

// storedChoices are the choices of groups whose programs stand in the binary: nothing, and what profiles/builtin/default.toml asks for.
func storedChoices() [][]string { return [][]string{nil, {"debug"}} }

// TestStoredPrograms holds the stored programs to what libseccomp makes of the policy. Versions of libseccomp differ in the names
// they know and in how they lay a tree out, so the bytes are compared with the version that made them, and what the programs say
// (TestProgramSaysWhatThePolicySays, which runs the stored ones too) everywhere.
func TestStoredPrograms(t *testing.T) {
	const madeWith = "2.5.4"
	major, minor, micro := libseccomp.GetLibraryVersion()
	version := []byte{'0' + byte(major), '.', '0' + byte(minor), '.', '0' + byte(micro)}
	for _, m := range machines() {
		for _, groups := range storedChoices() {
			policy, err := policyFor(groups)
			if err != nil {
				t.Fatal(err)
			}
			want, err := compile(m.token, policy)
			if err != nil {
				t.Fatal(err)
			}
			file := stored(m.name, groups)
			if *update {
				if err := os.WriteFile(file, want, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v: run go generate ./seccomp", err)
			}
			if string(version) != madeWith {
				t.Logf("libseccomp %s: %s is compared by what it says alone", version, file)
				continue
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not what the policy compiles to: run go generate ./seccomp", file)
			}
		}
	}
}

// TestProgramIsStored: the way without libseccomp is the one that is taken, and the order of the groups does not matter.
func TestProgramIsStored(t *testing.T) {
	for _, groups := range [][]string{nil, {"debug"}, {"debug", "debug"}} {
		if _, err := programs.ReadFile(stored("amd64", groups)); err != nil {
			t.Error(err)
		}
	}
	if stored("amd64", []string{"nested", "debug"}) != stored("amd64", []string{"debug", "nested"}) {
		t.Error("the order of groups makes another program")
	}
	got, err := Program([]string{"nested"})
	if err != nil {
		t.Fatal(err)
	}
	want, err := Compile([]string{"nested"})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("a choice that is not stored is not what Compile says")
	}
	if _, err := Program([]string{"no such"}); err == nil {
		t.Error("a group that does not exist was taken")
	}
}

func BenchmarkProgram(b *testing.B) {
	for b.Loop() {
		if _, err := Program([]string{"debug"}); err != nil {
			b.Fatal(err)
		}
	}
}
