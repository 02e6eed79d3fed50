package sandbox

import (
	"io/fs"
	"path"
	"slices"
	"syscall"
	"time"
)

// Bounds of what a plan looks at: a project is somebody else's data.
const (
	maxRepoDirs  = 256      // directories with others in them, which are descended into to find repositories
	maxRepoReads = 640      // directories that are read for that; it takes one to see that there is nothing in it
	maxRepos     = 64       // repositories, submodules and work trees, each
	maxEntries   = 4096     // of one directory
	maxGitFile   = 64 << 10 // bytes of a .git file, a config, a .gitmodules
)

// skippedDirs are not searched, but for being repositories themselves: they are large, made by tools, and nobody runs git in them.
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

// isRepo says whether a directory has a .git in it or is a bare repository. One that cannot be looked at may be either.
func isRepo(f Files, dir string) bool {
	_, err := f.Lstat(path.Join(dir, ".git"))
	if missing(err) {
		_, err = f.Lstat(path.Join(dir, "HEAD"))
		return err == nil && isGitDir(f, dir)
	}
	return true
}

// repoLook is what a look for repositories saw.
type repoLook struct {
	repos  []string
	closed []string // directories that cannot be read
	beyond string   // the first directory that was not looked at for there being too many; "" when there was none
	seen   seenDirs
	links  map[uint64]bool // by device: directories have a link for each directory in them
}

// seenDirs are directories as a look of this run's has found them. One whose change time has stayed has the same names in it: the jail
// cannot set that time (inode(7)), and what changed within the clock's grain before the look is not kept. Only of file systems that are
// known for it: others may keep no time, or their own.
type seenDirs map[string]seenDir

type seenDir struct {
	stat    syscall.Stat_t
	entries []fs.DirEntry // the directories, and what tells a repository
}

// clockGrain is more than any file system's.
const clockGrain = 3 * time.Second

// read gives the names in a directory that say something about repositories, and whether these are all.
func (l *repoLook) read(f Files, at string) (entries []fs.DirEntry, all bool, err error) {
	info, err := f.Lstat(at)
	if err != nil {
		return nil, false, err
	}
	looked := time.Now()
	now, known := info.Sys().(*syscall.Stat_t)
	if was, ok := l.seen[at]; ok && known && now.Ctim == was.stat.Ctim && now.Ino == was.stat.Ino && now.Dev == was.stat.Dev {
		return was.entries, true, nil
	}
	if known && now.Nlink == 2 && l.countsLinks(f, at, now.Dev) { // no directory lies in it; a file may say that it is a work tree
		all = true
		if git, err := f.Lstat(path.Join(at, ".git")); err == nil {
			entries = append(entries, fs.FileInfoToDirEntry(git))
		} else if !missing(err) {
			return nil, false, err
		}
	} else {
		if entries, err = f.ReadDir(at, maxEntries); err != nil {
			return nil, false, err
		}
		all = len(entries) < maxEntries
		entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && e.Name() != ".git" && e.Name() != "HEAD" })
	}
	if all && known && l.seen != nil && l.countsLinks(f, at, now.Dev) && looked.Sub(time.Unix(now.Ctim.Unix())) > clockGrain {
		l.seen[at] = seenDir{*now, entries}
	}
	return entries, all, nil
}

// countsLinks asks once for each file system.
func (l *repoLook) countsLinks(f Files, at string, dev uint64) bool {
	counts, known := l.links[dev]
	if !known {
		counts = f.CountsLinks(at)
		l.links[dev] = counts
	}
	return counts
}

func (l *repoLook) found(dir string) {
	switch {
	case slices.Contains(l.repos, dir):
	case len(l.repos) < maxRepos:
		l.repos = append(l.repos, dir)
	default:
		l.past(dir)
	}
}

func (l *repoLook) past(dir string) {
	if l.beyond == "" {
		l.beyond = dir
	}
}

// lookForRepos gives the git repositories in a project, itself included: directories with a .git in them, directories that are bare
// repositories themselves, and the submodules of .gitmodules. Those that are known are looked at directly. It descends into at most 256
// directories, nearest first, so that it costs the same in a project of any size; what lies further away is not found, and the
// first of that is named. seen, which may be nil, is for the looks of one run.
func lookForRepos(project string, known []string, f Files, seen seenDirs) *repoLook {
	look := &repoLook{seen: seen, links: map[uint64]bool{}}
	for _, dir := range append([]string{project}, known...) {
		if within(dir, project) && isRepo(f, dir) {
			look.found(dir)
		}
	}
	queue := []string{project}
	descended, read := 0, 0
	for len(queue) > 0 && descended < maxRepoDirs && read < maxRepoReads {
		at := queue[0]
		queue = queue[1:]
		read++
		before := len(queue)
		queue = look.dir(f, at, queue)
		if len(queue) > before {
			descended++
		}
	}
	if len(queue) > 0 {
		look.past(queue[0])
	}
	for _, sub := range submodules(f, project) {
		if _, err := f.Lstat(path.Join(sub, ".git")); err == nil {
			look.found(sub)
		}
	}
	return look
}

// dir reads one directory and adds those in it to the queue.
func (l *repoLook) dir(f Files, at string, queue []string) []string {
	entries, all, err := l.read(f, at)
	if err != nil {
		if !missing(err) {
			l.closed = append(l.closed, at)
		}
		return queue
	}
	if len(namesLike(entries, ".git")) > 0 {
		l.found(at)
	} else if !all {
		l.past(at)
		if _, err := f.Lstat(path.Join(at, ".git")); err == nil {
			l.found(at)
		}
	}
	if len(namesLike(entries, "HEAD")) > 0 && isGitDir(f, at) {
		l.found(at)
		return queue
	}
	for _, e := range entries {
		switch name := path.Join(at, e.Name()); {
		case !e.IsDir():
		case slices.Contains(skippedDirs, e.Name()):
			if _, err := f.Lstat(path.Join(name, ".git")); err == nil {
				l.found(name)
			}
		case len(queue) < maxRepoReads:
			queue = append(queue, name)
		default:
			l.past(name)
		}
	}
	return queue
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

// moduleDirs gives the git directories of submodules; their names may have slashes. blocked hears of what cannot be read.
func moduleDirs(f Files, dir string, blocked func(string, error)) []string {
	var found []string
	queue := []string{dir}
	for read := 0; len(queue) > 0 && read < maxRepos; read++ {
		at := queue[0]
		queue = queue[1:]
		entries, err := f.ReadDir(at, maxRepos)
		if err != nil {
			blocked(at, err)
			continue
		}
		for _, e := range entries {
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
