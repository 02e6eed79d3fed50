package seccomp

import (
	"embed"
	"runtime"
	"slices"
	"strings"
)

//go:generate go test . -run TestStoredPrograms -update

// programs holds what Compile gives for the choices of groups that the built-in profiles make, a file an architecture and choice.
//
//go:embed programs/*.bpf
var programs embed.FS

// Program is Compile with the usual answers stored in the binary: libseccomp takes longer for them than bubblewrap for a whole
// sandbox. A test runs the stored programs against the policy for every call and holds them to what libseccomp says.
func Program(groups []string) ([]byte, error) {
	if p, err := programs.ReadFile(stored(runtime.GOARCH, groups)); err == nil {
		return p, nil
	}
	return Compile(groups)
}

// stored is the name of the file with the program of groups, whether there is one or not.
func stored(arch string, groups []string) string {
	names := slices.Compact(slices.Sorted(slices.Values(groups)))
	return "programs/" + strings.Join(append([]string{arch}, names...), "-") + ".bpf"
}
