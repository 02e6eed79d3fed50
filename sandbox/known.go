package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
)

// A look for repositories has bounds, and what a jail does to the project can put a repository beyond them: a hundred directories
// before it, or one above it that cannot be read. So those that were found once are kept in agentjail's state, one file a project,
// where no jail can write, and the next plan looks at them directly. The plan reads; Run writes.

// knownRepos is that file.
type knownRepos struct {
	Project string   `json:"project"`
	Repos   []string `json:"repos"`
}

// maxKnown bounds what is read of it. Bytes.
const maxKnown = 1 << 20

func knownFile(h *Host, project string) string {
	return path.Join(h.StateDir, "projects", shortHash(project)+".json")
}

// recall gives the repositories that earlier runs knew of.
func recall(h *Host, f Files, project string) ([]string, error) {
	data, err := f.ReadFile(knownFile(h, project), maxKnown)
	if missing(err) {
		return nil, nil
	}
	var known knownRepos
	if err == nil {
		err = json.Unmarshal(data, &known)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", knownFile(h, project), err)
	}
	return slices.DeleteFunc(known.Repos, func(dir string) bool { return dir != path.Clean(dir) || !within(dir, project) }), nil
}

// remember keeps them for the next plan. The project itself is found without.
func remember(h *Host, project string, repos []string) error {
	old, err := recall(h, h.FS, project)
	repos = slices.DeleteFunc(slices.Concat(repos, old), func(dir string) bool { return dir == project || !isRepo(h.FS, dir) })
	slices.Sort(repos) // another run in this project may have added some
	repos = slices.Compact(repos)
	if err == nil && slices.Equal(old, repos) {
		return nil
	}
	name := knownFile(h, project)
	data, err := json.Marshal(knownRepos{project, repos})
	if err == nil {
		err = os.MkdirAll(path.Dir(name), 0o700)
	}
	var f *os.File
	if err == nil {
		f, err = os.CreateTemp(path.Dir(name), ".new-*") // 0600; two runs may write at once
	}
	if err == nil {
		_, err = f.Write(data)
		err = errors.Join(err, f.Close())
		if err == nil {
			err = os.Rename(f.Name(), name)
		}
		if err != nil {
			os.Remove(f.Name())
		}
	}
	if err != nil {
		return fmt.Errorf("remember the project's repositories: %w", err)
	}
	return nil
}
