package integration

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTour holds that the first command that README names shows what it says, in its order, for whoever started the tests: where that was
// root, the ordinary user's part leaves it to root's, whose build cache is warm.
func TestTour(t *testing.T) {
	if os.Getuid() != 0 && os.Getenv("TEST_ROOT") != "" {
		return
	}
	if os.Getuid() != 0 {
		t.Setenv("GOFLAGS", "-buildvcs=false") // the tree may be root's, and git then tells nothing of it
	}
	tour := exec.Command("../.ci/tour", os.Getenv("AGENTJAIL_BIN"))
	out, err := tour.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	rest := string(out)
	for _, want := range []string{
		"new-file: made in the jail\n", ".ssh': No such file or directory\n", "200 OK\n", "You asked for / at hello.example.\n",
		"403 Forbidden\n", "elsewhere.example:80 is not a host that this session may reach", "agentjail: refused: elsewhere.example:80",
		`"ended_by": "command"`, `"reason": "not_allowed"`, "What next?\n",
	} {
		_, after, ok := strings.Cut(rest, want)
		if !ok {
			t.Fatalf("the tour does not say %q where it should:\n%s", want, out)
		}
		rest = after
	}
}

// registries are hashes of the host names of package registries, for the names themselves are written nowhere: bundles ask the tools.
var registries = map[string]bool{
	"8743857e3ea00fd1": true,
	"3ca29e55be4befa4": true,
	"87d14f070cb96869": true,
	"00a7dc5a0cc38858": true,
	"9da5f32d96412512": true,
	"a4aa2ac280bb8d1a": true,
	"8b5bb5eb9d758455": true,
	"789e46d79514e280": true,
	"75adac515f0bd3db": true,
	"344aa72d23ae6fdb": true,
	"71741fe2460a6150": true,
	"c3db8466ffcd8589": true,
	"ae0e9bceb9fb1084": true,
}

var hostName = regexp.MustCompile(`[a-z0-9-]+(\.[a-z0-9-]+)+`)

// registriesIn gives the host names of registries, and of hosts below them, that text holds.
func registriesIn(text string) (found []string) {
	for _, host := range hostName.FindAllString(strings.ToLower(text), -1) {
		for name := host; strings.Contains(name, "."); _, name, _ = strings.Cut(name, ".") {
			if sum := sha256.Sum256([]byte(name)); registries[hex.EncodeToString(sum[:8])] {
				found = append(found, host)
			}
		}
	}
	return found
}

func TestNoRegistryIsNamed(t *testing.T) {
	// The control: put together, a name is found.
	if got := registriesIn("https://registry." + "npmjs" + ".org/x, https://index." + "crates" + ".io"); len(got) != 2 {
		t.Fatalf("found %q", got)
	}
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || d.Name() == "bin"):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		text, err := os.ReadFile(name)
		for _, host := range registriesIn(string(text)) {
			t.Errorf("%s names the registry %s", name, host)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
