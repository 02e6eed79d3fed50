package selftest

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestCredentials: what is there is found, opened without a wait, and told by its name; what stands in its place is not it.
func TestCredentials(t *testing.T) {
	home, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, name := range []string{".aws/credentials", ".config/gh/hosts.yml", ".claude/.credentials.json", ".docker/config.json", ".npmrc",
		".git-credentials", ".ssh/id_ed25519", ".ssh/id_ed25519.pub", ".ssh/config", ".bashrc"} {
		if err := put(filepath.Join(home, name), "x"); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains([]string{".ssh/id_ed25519.pub", ".ssh/config", ".bashrc"}, name) {
			want = append(want, filepath.Join(home, name))
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(home, ".gnupg"), 0o700), unix.Mkfifo(filepath.Join(home, ".netrc"), 0o600)); err != nil {
		t.Fatal(err)
	}
	want = append(want, filepath.Join(home, ".gnupg"), filepath.Join(home, ".netrc"))
	slices.Sort(want)
	all := &target{Credentials: credentials([]string{"/nowhere", home, home})}
	w, ok := errors.AsType[won](openCredentials(all))
	if got := strings.Split(w.what, ", "); !ok || !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("opened %q, want %q", got, want)
	}

	one := &target{Credentials: credentials([]string{home})[:1]}
	name := one.Credentials[0].Path
	if err := errors.Join(os.Rename(name, name+".old"), put(name, "another")); err != nil {
		t.Fatal(err)
	}
	if err := openCredentials(one); !errors.Is(err, errNotTheHosts) {
		t.Errorf("another file under the name: %v", err)
	}
	if err := openCredentials(&target{}); err == nil || errors.As(err, new(won)) {
		t.Errorf("of nothing: %v", err)
	}
}

// TestNoCredentials: who has none has nothing to lose there, and that is no reason for an exit status.
func TestNoCredentials(t *testing.T) {
	o, _ := options(t)
	o.Homes = []string{t.TempDir()}
	o.only = func(a attempt) bool { return slices.Contains([]string{"real-home-credentials", "home-netrc"}, a.name) }
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Absent != 1 || r.Stopped != 1 || !r.Holds() {
		t.Errorf("%+v", r)
	}
}
