package sandbox

import (
	"io/fs"
	"path"
	"slices"
)

// Bounds of what a plan looks at: a project is somebody else's data.
const (
	maxRepoDirs  = 256      // directories that are read to find repositories
	maxRepos     = 64       // repositories, submodules and work trees, each
	maxRepoDepth = 6        // directories below the project
	maxEntries   = 4096     // of one directory
	maxGitFile   = 64 << 10 // bytes of a .git file, a config, a .gitmodules
)

// skippedDirs are not searched: they are large, made by tools, and nobody runs git in them.
var skippedDirs = []string{".git", "node_modules", ".venv", "venv", "__pycache__", "target"}

// isGitDir says whether dir looks to git like a repository (setup.c, is_git_directory).
func isGitDir(f Files, dir string) bool {
	for _, name := range []string{"objects", "refs", "HEAD"} {
		if _, err := f.Lstat(path.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// FindRepos gives the git repositories in a project, itself included: directories with a .git in them, directories that are bare
// repositories themselves, and the submodules of .gitmodules. It reads at most 256 directories, nearest first, so that it costs the
// same in a project of any size; what lies deeper is not found.
func FindRepos(project string, f Files) []string {
	var repos []string
	found := func(dir string) {
		if len(repos) < maxRepos && !slices.Contains(repos, dir) {
			repos = append(repos, dir)
		}
	}
	type level struct {
		dir   string
		depth int
	}
	queue := []level{{project, 0}}
	for read := 0; len(queue) > 0 && read < maxRepoDirs; read++ {
		at := queue[0]
		queue = queue[1:]
		entries, err := f.ReadDir(at.dir, maxEntries)
		if err != nil {
			continue
		}
		if len(namesLike(entries, ".git")) > 0 {
			found(at.dir)
		} else if len(entries) >= maxEntries {
			if _, err := f.Lstat(path.Join(at.dir, ".git")); err == nil {
				found(at.dir)
			}
		}
		if len(namesLike(entries, "HEAD")) > 0 && isGitDir(f, at.dir) {
			found(at.dir)
			continue
		}
		for _, e := range entries {
			if e.IsDir() && at.depth < maxRepoDepth && len(queue) < maxRepoDirs && !slices.Contains(skippedDirs, e.Name()) {
				queue = append(queue, level{path.Join(at.dir, e.Name()), at.depth + 1})
			}
		}
	}
	for _, sub := range submodules(f, project) {
		if _, err := f.Lstat(path.Join(sub, ".git")); err == nil {
			found(sub)
		}
	}
	return repos
}

// submodules reads the paths of .gitmodules (gitmodules(5)), those that stay in the project.
func submodules(f Files, project string) []string {
	data, err := f.ReadFile(path.Join(project, ".gitmodules"), maxGitFile)
	if err != nil {
		return nil
	}
	var dirs []string
	for _, s := range gitConfig(data) {
		if dir := path.Join(project, s.value); s.key == "path" && strictlyWithin(dir, project) && len(dirs) < maxRepos {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// moduleDirs gives the git directories of submodules; their names may have slashes.
func moduleDirs(f Files, dir string) []string {
	var found []string
	queue := []string{dir}
	for read := 0; len(queue) > 0 && read < maxRepos; read++ {
		at := queue[0]
		queue = queue[1:]
		for _, e := range entriesOf(f, at, maxRepos) {
			if name := path.Join(at, e.Name()); e.IsDir() && isGitDir(f, name) {
				found = append(found, name)
				queue = append(queue, path.Join(name, "modules"))
			} else if e.IsDir() {
				queue = append(queue, name)
			}
		}
	}
	return found
}

func entriesOf(f Files, dir string, most int) []fs.DirEntry {
	entries, _ := f.ReadDir(dir, most)
	return entries
}
