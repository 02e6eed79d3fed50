package integration

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// claudeCode installs Claude Code as its package comes, once for all scripts: it is 200 MiB.
var claudeCode = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "claude")
	if err != nil {
		return "", err
	}
	npm := exec.Command("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir, "@anthropic-ai/claude-code")
	npm.Env = append(os.Environ(), "HOME="+dir, "npm_config_cache="+filepath.Join(dir, "cache"), "npm_config_update_notifier=false")
	if said, err := npm.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm install: %w: %s", err, said)
	}
	return filepath.Join(dir, "node_modules"), nil
})

// installClaude puts Claude Code where people install it, below the script's home, and on PATH.
func installClaude(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: claude")
	}
	from, err := claudeCode()
	ts.Check(err)
	home := ts.Getenv("HOME")
	lib, bin := filepath.Join(home, ".local/lib/node_modules"), filepath.Join(home, ".local/bin")
	ts.Check(errors.Join(os.MkdirAll(bin, 0o755), filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(from, name)
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.MkdirAll(filepath.Join(lib, rel), 0o755)
		case d.Type().IsRegular():
			return os.Link(name, filepath.Join(lib, rel))
		}
		return nil // npm's own links to the commands
	})))
	found, err := filepath.Glob(filepath.Join(lib, "@anthropic-ai/claude-code-linux-*/claude"))
	ts.Check(err)
	if len(found) == 0 {
		ts.Fatalf("no program for this machine in the package")
	}
	ts.Check(os.Symlink(found[0], filepath.Join(bin, "claude")))
	ts.Setenv("PATH", bin+":"+ts.Getenv("PATH"))
}
