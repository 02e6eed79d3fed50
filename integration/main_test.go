package integration

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// asRoot is set when the part that is about being root is wanted: `AGENTJAIL_AS_ROOT=1 go test`, as root.
const asRoot = "AGENTJAIL_AS_ROOT"

// TestMain has three lives: the programs that scripts call (see script_test.go), which testscript.Main makes of this binary; root's, which
// builds agentjail and then starts the tests as an ordinary user; and the tests.
func TestMain(m *testing.M) {
	if isTestBinary() {
		if err := build(); err != nil {
			fmt.Fprintln(os.Stderr, "integration:", err)
			os.Exit(1)
		}
		if os.Getuid() == 0 && os.Getenv(asRoot) == "" {
			os.Exit(dropped())
		}
	}
	usualSignals()
	testscript.Main(tidy{m}, programs)
}

// usualSignals has the tests' programs start with the signals that end a program at their defaults, where the tests themselves run in a
// shell's background or under nohup: a signal that is caught is not ignored by a child (execve(2)).
func usualSignals() {
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} { // the others Go's runtime catches by itself
		if signal.Ignored(s) {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// tidy gives the tests a directory for all that is temporary and removes it after them.
type tidy struct{ *testing.M }

func (t tidy) Run() int {
	dir, err := os.MkdirTemp("", "agentjail-integration-")
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	found, err := races(dir)
	code := 1
	if err == nil {
		code = t.M.Run()
		err = found()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration:", err)
		return 1
	}
	return code
}

// isTestBinary tells the tests from the programs, which are this binary under another name.
func isTestBinary() bool {
	_, program := programs[filepath.Base(os.Args[0])]
	return !program
}

// build leaves the name of the binary under test in AGENTJAIL_BIN.
func build() error {
	if bin := os.Getenv("AGENTJAIL_BIN"); bin != "" {
		abs, err := filepath.Abs(bin)
		if err != nil {
			return err
		}
		if _, err := os.Stat(abs); err != nil {
			return fmt.Errorf("AGENTJAIL_BIN: %w", err)
		}
		return os.Setenv("AGENTJAIL_BIN", abs)
	}
	make := exec.Command("make", "-s", "-C", "..", "build")
	make.Stdout, make.Stderr = os.Stderr, os.Stderr
	if err := make.Run(); err != nil {
		return fmt.Errorf("make build: %w", err)
	}
	abs, err := filepath.Abs("../bin/agentjail")
	if err != nil {
		return err
	}
	return os.Setenv("AGENTJAIL_BIN", abs)
}

// dropped runs this test binary again as an ordinary user: SUDO_UID, the owner of the tree, or a uid that stands for nobody. Root's
// build directory is 0700, so the binaries are copied to where that user can read them.
func dropped() int {
	uid, gid := ordinary()
	code, err := func() (int, error) {
		dir, err := os.MkdirTemp("/tmp", "agentjail-integration-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		if err := os.Chmod(dir, 0o711); err != nil {
			return 0, err
		}
		home, tmp := filepath.Join(dir, "home"), filepath.Join(dir, "tmp")
		for _, d := range []string{home, tmp} {
			if err := errors.Join(os.Mkdir(d, 0o700), os.Chown(d, uid, gid)); err != nil {
				return 0, err
			}
		}
		self, bin := filepath.Join(dir, "integration.test"), filepath.Join(dir, "agentjail")
		if err := errors.Join(copyFile(self, "/proc/self/exe"), copyFile(bin, os.Getenv("AGENTJAIL_BIN"))); err != nil {
			return 0, err
		}
		// go's own log of what the test opens, for its cache, lies in that directory as well.
		args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(a string) bool { return strings.HasPrefix(a, "-test.testlogfile=") })
		cmd := exec.Command(self, args...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		cmd.Env = append(os.Environ(), "HOME="+home, "TMPDIR="+tmp, "AGENTJAIL_BIN="+bin, "GOCACHE=", "GOMODCACHE=", "GOPATH=")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		err = cmd.Run()
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			return exit.ExitCode(), nil
		}
		return 0, err
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "integration: as an ordinary user:", err)
		return 1
	}
	return code
}

func ordinary() (uid, gid int) {
	uid, _ = strconv.Atoi(os.Getenv("SUDO_UID"))
	gid, _ = strconv.Atoi(os.Getenv("SUDO_GID"))
	if info, err := os.Stat("."); uid == 0 && err == nil {
		owner := info.Sys().(*syscall.Stat_t)
		uid, gid = int(owner.Uid), int(owner.Gid)
	}
	if uid == 0 {
		return 4242, 4242 // not 65534: the kernel shows that one for every id that is not mapped
	}
	return uid, gid
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Chmod(0o755), out.Close())
}

// TestBinaryIsStatic holds what README promises: no loader, no shared library.
func TestBinaryIsStatic(t *testing.T) {
	out, err := exec.Command("readelf", "-l", os.Getenv("AGENTJAIL_BIN")).CombinedOutput()
	if err != nil {
		t.Fatalf("readelf: %v\n%s", err, out)
	}
	if strings.Contains(string(out), "INTERP") {
		t.Error("bin/agentjail asks for a dynamic loader")
	}
	if !strings.Contains(string(out), "LOAD") {
		t.Errorf("readelf shows no segment at all:\n%s", out)
	}
}
