package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkRun is what a jail adds to a command: launch, end and clean-up, against the bare command.
func BenchmarkRun(b *testing.B) {
	for _, bm := range []struct {
		name string
		argv []string
	}{
		{"bare", []string{"true"}},
		{"jail", []string{os.Getenv("AGENTJAIL_BIN"), "--", "true"}},
		{"jail without network", []string{os.Getenv("AGENTJAIL_BIN"), "--net", "none", "--", "true"}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			env := benchProject(b)
			for b.Loop() {
				runIn(b, env, bm.argv...)
			}
		})
	}
}

// BenchmarkDownload is the door's throughput: 256 MiB over TLS from a server on loopback, with and without the jail between.
func BenchmarkDownload(b *testing.B) {
	w, err := web()
	if err != nil {
		b.Fatal(err)
	}
	const size = 256 << 20
	url := fmt.Sprintf("https://web.example/bytes?n=%d", size)
	for _, bm := range []struct {
		name string
		argv []string
	}{
		{"bare", []string{"curl", "-sSo", "/dev/null", "--cacert", w.CAFile, "--connect-to", "web.example:443:" + w.HTTPS, url}},
		{"jail", []string{os.Getenv("AGENTJAIL_BIN"), "-p", "../door.toml", "--", "curl", "-sSo", "/dev/null", url}},
	} {
		b.Run(bm.name, func(b *testing.B) {
			env := benchProject(b)
			b.SetBytes(size)
			for b.Loop() {
				runIn(b, env, bm.argv...)
			}
		})
	}
}

// benchProject makes a project, a home and a profile, and gives the environment that names them; the first variable is PWD.
func benchProject(b *testing.B) []string {
	w, err := web()
	if err != nil {
		b.Fatal(err)
	}
	dir := b.TempDir()
	for _, name := range []string{"project", "home"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	text := fmt.Sprintf(profile, w.HTTP, w.HTTPS, w.Echo, w.CAFile)
	if err := os.WriteFile(filepath.Join(dir, "door.toml"), []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
	home := filepath.Join(dir, "home")
	return append([]string{"PWD=" + filepath.Join(dir, "project")}, append(os.Environ(), "HOME="+home,
		"XDG_STATE_HOME="+home+"/.local/state", "XDG_CONFIG_HOME="+home+"/.config", "PATH=/usr/local/bin:/usr/bin:/bin")...)
}

func runIn(b *testing.B, env []string, argv ...string) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = env[0][len("PWD="):], env
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%q: %v\n%s", argv, err, out)
	}
}
