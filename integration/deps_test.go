package integration

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/agentjail/agentjail"

// leaktest is for the tests of every package: it holds that they leave neither goroutines nor descriptors.
const leaktest = module + "/integration/leaktest"

// arrows is what the files of one package may import beside the standard library. A path stands for itself and all below it.
type arrows struct {
	code  []string // any file
	tests []string // _test.go files as well
	cgo   bool
}

// table is the design's import table. A new row or word in it is a decision: its commit says why.
var table = map[string]arrows{
	"profiles": {
		code:  []string{"github.com/pelletier/go-toml/v2", "golang.org/x/net/publicsuffix", "golang.org/x/net/idna"},
		tests: []string{"github.com/google/go-cmp", leaktest},
	},
	"seccomp": {
		code:  []string{"github.com/seccomp/libseccomp-golang", "golang.org/x/sys/unix"},
		tests: []string{"github.com/google/go-cmp", "github.com/moby/profiles/seccomp", "github.com/opencontainers/runtime-spec/specs-go", leaktest},
	},
	"netns": {
		code:  []string{"github.com/vishvananda/netlink", "golang.org/x/sys/unix"},
		tests: []string{"github.com/google/go-cmp", "go.uber.org/goleak", leaktest},
	},
	"netns/egress": {
		code:  []string{"golang.org/x/net", "golang.org/x/sys/unix", "github.com/miekg/dns"},
		tests: []string{"github.com/google/go-cmp", "go.uber.org/goleak", leaktest},
	},
	"sandbox": {
		code: []string{
			module + "/profiles", module + "/seccomp", module + "/netns",
			"golang.org/x/sys/unix", "golang.org/x/term", "github.com/godbus/dbus/v5",
			"golang.org/x/crypto/cryptobyte", // Java's trust store
			"github.com/zalando/go-keyring",  // a source of secrets
		},
		tests: []string{"github.com/google/go-cmp", "go.uber.org/goleak", leaktest, "github.com/rogpeppe/go-internal", "software.sslmate.com/src/go-pkcs12"},
		cgo:   true, // container.go, init.go: between clone(2) and execve(2), and as PID 1, there is no Go runtime
	},
	// Its command runs in a jail: it knows system calls and addresses, and nothing of how a jail is made.
	"sandbox/selftest": {
		code:  []string{"golang.org/x/sys/unix", "github.com/vishvananda/netlink"},
		tests: []string{module + "/profiles", module + "/sandbox", leaktest},
	},
	"cmd/agentjail": {
		code:  []string{module + "/profiles", module + "/sandbox", "github.com/urfave/cli/v2", "golang.org/x/term"},
		tests: []string{"github.com/google/go-cmp", "github.com/rogpeppe/go-internal", leaktest},
	},
	"integration/leaktest": {
		code: []string{"go.uber.org/goleak"},
	},
	"integration": {
		tests: []string{"github.com/rogpeppe/go-internal", "golang.org/x/net/dns/dnsmessage", "golang.org/x/sys/unix"},
	},
}

// violations walks the Go files of tree and names each import that the table does not allow. It parses the files itself: a test
// that asked `go list` in a subprocess would stay green in go's test cache after a violation, for go sees what the test opens and
// not what its children do.
func violations(tree fs.FS) ([]string, error) {
	var bad []string
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "testdata" || d.Name() == "vendor"):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if why := forbidden(name, imported); why != "" {
				bad = append(bad, fmt.Sprintf("%s imports %s: %s", name, imported, why))
			}
		}
		return nil
	})
	return bad, err
}

// forbidden says why the file may not import what it imports, or "".
func forbidden(name, imported string) string {
	pkg, test := path.Dir(name), strings.HasSuffix(name, "_test.go")
	row := table[pkg] // a package without a row has the standard library alone
	switch {
	case imported == "C":
		if row.cgo {
			return ""
		}
		return "no cgo in " + pkg
	case !strings.Contains(strings.SplitN(imported, "/", 2)[0], "."): // the standard library
		return ""
	case below(imported, row.code), test && below(imported, row.tests):
		return ""
	case test && imported == module+"/"+pkg: // package x_test
		return ""
	}
	return "not in the table of " + pkg
}

func below(imported string, paths []string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return imported == p || strings.HasPrefix(imported, p+"/") })
}

func TestImports(t *testing.T) {
	// Opened file by file, so that go's test cache knows each of them.
	bad, err := violations(os.DirFS(filepath.Dir(mustGetwd(t))))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bad {
		t.Error(b)
	}
}

// TestImportsOfMadeUpTree holds the checker itself: each of these trees has one arrow too many, or none.
func TestImportsOfMadeUpTree(t *testing.T) {
	for _, tt := range []struct {
		name, file, imports string
		bad                 bool
	}{
		{"standard library anywhere", "netns/egress/a.go", `"net/http"`, false},
		{"own row", "profiles/a.go", `"github.com/pelletier/go-toml/v2"`, false},
		{"below an allowed path", "netns/egress/a.go", `"golang.org/x/net/dns/dnsmessage"`, false},
		{"name with an allowed prefix", "netns/egress/a.go", `"golang.org/x/network"`, true},
		{"netlink in the door", "netns/egress/a.go", `"github.com/vishvananda/netlink"`, true},
		{"cgo in the door", "netns/egress/a.go", `"C"`, true},
		{"cgo in the spawn", "sandbox/init.go", `"C"`, false},
		{"a container library", "sandbox/container.go", `"github.com/opencontainers/runc/libcontainer"`, true},
		{"upwards", "profiles/a.go", `"` + module + `/sandbox"`, true},
		{"door in the command line", "cmd/agentjail/a.go", `"` + module + `/netns/egress"`, true},
		{"test library in code", "profiles/a.go", `"github.com/google/go-cmp/cmp"`, true},
		{"test library in a test", "profiles/a_test.go", `"github.com/google/go-cmp/cmp"`, false},
		{"external test of the package itself", "seccomp/a_test.go", `"` + module + `/seccomp"`, false},
		{"new package", "wobble/a.go", `"golang.org/x/sys/unix"`, true},
		{"program of the build", ".ci/wobble/main.go", `"golang.org/x/sys/unix"`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			name := filepath.Join(dir, filepath.FromSlash(tt.file))
			if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte("package a\n\nimport "+tt.imports+"\n"), 0o666); err != nil {
				t.Fatal(err)
			}
			bad, err := violations(os.DirFS(dir))
			if err != nil {
				t.Fatal(err)
			}
			if got := len(bad) > 0; got != tt.bad {
				t.Errorf("violation = %v (%q), want %v", got, bad, tt.bad)
			}
		})
	}
}

// TestTopLevel holds that who opens the repository sees its packages and nothing beside them; what builds and tests it is in .ci.
func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(filepath.Dir(mustGetwd(t)))
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != ".git" && e.Name() != "bin" {
			dirs = append(dirs, e.Name())
		}
	}
	if want := []string{".ci", "cmd", "integration", "netns", "profiles", "sandbox", "seccomp"}; !slices.Equal(dirs, want) {
		t.Errorf("the top level has the directories %q, want %q", dirs, want)
	}
}

// TestImportsSeesTheTree fails when the walk above looks at the wrong directory and so finds nothing wrong there.
func TestImportsSeesTheTree(t *testing.T) {
	root := filepath.Dir(mustGetwd(t))
	for pkg := range table {
		files, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pkg), "*.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("package %s of the table has no files (%v)", pkg, err)
		}
	}
}

func mustGetwd(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
