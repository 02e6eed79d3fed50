package profiles

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed builtin/*.toml
var builtin embed.FS

// BuiltIn is the directory of the profiles that come with the program.
func BuiltIn() Dir {
	sub, err := fs.Sub(builtin, "builtin")
	if err != nil {
		panic(err) // "builtin" is a valid path
	}
	return Dir{Name: "built in", FS: sub, builtIn: true}
}

// DirAt is a directory of the host; it need not exist.
func DirAt(dir string) Dir { return Dir{Name: dir, FS: os.DirFS(dir)} }

// Dir is one place where profiles live, each in a file NAME.toml.
type Dir struct {
	Name    string // what Info.Source begins with
	FS      fs.FS
	builtIn bool
}

// Library finds profiles by name: the first of Dirs that has the name wins.
type Library struct {
	Dirs []Dir
}

// NewLibrary is the usual library: configDir/profiles ($XDG_CONFIG_HOME/agentjail), /etc/agentjail/profiles, built in.
func NewLibrary(configDir string) Library {
	return Library{Dirs: []Dir{DirAt(filepath.Join(configDir, "profiles")), DirAt("/etc/agentjail/profiles"), BuiltIn()}}
}

// Info is one profile of a library.
type Info struct {
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Source      string   `json:"source"` // a path, or "built in"
	Match       []string `json:"match,omitempty"`
	Error       string   `json:"error,omitempty"` // why the file cannot be used; nothing that needs it runs
	level       int      // its place in Dirs
}

// List gives every profile that can be asked for by name, sorted. A file that cannot be parsed is in the list, with its error,
// and is part of the error that List gives.
func (l Library) List() ([]Info, error) { return l.list(Dir.load) }

// matching is Dir.load for who asks for match alone. The built-in profiles' is known, and to parse them all took half of the planning of
// a run; a file of the user's is read whole, for nothing runs with one that cannot be.
func matching(d Dir, name string) (*Profile, error) {
	if !d.builtIn {
		return d.load(name)
	}
	return &Profile{Match: builtInMatch(name)}, nil
}

// builtInMatch is the match of a built-in profile.
func builtInMatch(name string) []string {
	switch name {
	case "aider", "claude", "codex", "copilot", "gemini", "opencode", "pre-commit":
		return []string{name}
	case "cursor":
		return []string{"cursor-agent"}
	}
	return nil
}

// list is List with a choice of how a profile is read.
func (l Library) list(load func(d Dir, name string) (*Profile, error)) ([]Info, error) {
	var infos []Info
	var errs []error
	for level, dir := range l.Dirs {
		entries, err := fs.ReadDir(dir.FS, ".")
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, &Error{Step: "profile", Err: fmt.Errorf("read %s: %w", dir.Name, err)}
		}
		for _, e := range entries {
			name, ok := strings.CutSuffix(e.Name(), ".toml")
			if !ok || !profileName(name) || slices.ContainsFunc(infos, func(i Info) bool { return i.Name == name }) {
				continue
			}
			info := Info{Name: name, Source: dir.source(name), level: level}
			if p, err := load(dir, name); err != nil {
				info.Error = err.Error()
				errs = append(errs, err)
			} else {
				info.Description, info.Match = p.Description, p.Match
			}
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return infos, errors.Join(errs...)
}

// Load gives the merged profile that refs name. A ref is a NAME, or a FILE when it has a "/" or ends in ".toml". Without any,
// it is the profile whose match holds commandBase, the base name of the command, and else "default". What a profile extends
// comes before it, and each file counts once, so that a shared ancestor does not undo what was said between. A profile that
// cannot be read, its ancestors and (when there are no refs) every profile of the library included, is an error: nothing runs.
func (l Library) Load(refs []string, commandBase string) (*Profile, error) {
	if len(refs) == 0 {
		ref, err := l.match(commandBase)
		if err != nil {
			return nil, err
		}
		refs = []string{ref}
	}
	chain := &chain{library: l, done: map[string]bool{}}
	for _, ref := range refs {
		if err := chain.add(ref); err != nil {
			return nil, err
		}
	}
	merged := &Profile{}
	for _, p := range chain.profiles {
		merged = Merge(merged, p)
	}
	merged.Name, merged.Extends = strings.Join(chain.names, "+"), nil
	return merged, nil
}

// match finds the profile for a command. One level of Dirs hides the next; two profiles of one level are an error, because
// their order would be chance.
func (l Library) match(base string) (string, error) {
	infos, err := l.list(matching)
	if err != nil {
		return "", err
	}
	var found []Info
	for _, i := range infos {
		if base != "" && slices.Contains(i.Match, base) {
			found = append(found, i)
		}
	}
	slices.SortStableFunc(found, func(a, b Info) int { return a.level - b.level })
	switch {
	case len(found) == 0:
		return "default", nil
	case len(found) > 1 && found[0].level == found[1].level:
		return "", profileError("choose one with --profile NAME", "profiles %s and %s both match the command %s",
			found[0].Name, found[1].Name, printable(base))
	}
	return found[0].Name, nil
}

// chain collects profiles in the order in which they are merged.
type chain struct {
	library  Library
	profiles []*Profile
	names    []string        // of the refs
	done     map[string]bool // by where the profile was found
	open     []string        // the line of extends that is being followed
}

func (c *chain) add(ref string) error {
	if !strings.Contains(ref, "/") && !strings.HasSuffix(ref, ".toml") {
		c.names = append(c.names, ref)
		return c.named(ref, 0)
	}
	data, err := readFile(os.DirFS(filepath.Dir(ref)), filepath.Base(ref))
	if err != nil {
		return &Error{Step: "profile", Err: fmt.Errorf("read %s: %w", printable(ref), cause(err))}
	}
	p, err := Parse(ref, data)
	if err != nil {
		return err
	}
	c.names = append(c.names, p.Name)
	return c.extend(p, filepath.Clean(ref), "", 0)
}

// named adds the profile of that name from the levels of Dirs at or below the given one.
func (c *chain) named(name string, level int) error {
	if !profileName(name) {
		return profileError("a FILE has a / or ends in .toml", "%q is not the name of a profile", name)
	}
	for i, dir := range c.library.Dirs {
		if i < level {
			continue
		}
		p, err := dir.load(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		return c.extend(p, dir.source(name), name, i)
	}
	hint := "agentjail profiles list shows the names"
	infos, _ := c.library.List() // broken ones are told when they are asked for
	var names []string
	for _, i := range infos {
		names = append(names, i.Name)
	}
	if near := Nearest(name, names); near != "" {
		hint = "did you mean " + near + "? " + hint
	}
	return profileError(hint, "no profile %s", name)
}

// extend adds what p extends and then p itself. A profile that extends its own name means the one that it hides: a user's
// claude.toml may build on the built-in claude.
func (c *chain) extend(p *Profile, source, name string, level int) error {
	key := source + "\x00" + name
	if slices.Contains(c.open, key) {
		return profileError("take one extends out", "%s extends itself: %s", p.Name, printable(c.cycle(key)))
	}
	if c.done[key] {
		return nil
	}
	c.open = append(c.open, key)
	for _, parent := range p.Extends {
		next := 0
		if parent == name {
			next = level + 1
		}
		if err := c.named(parent, next); err != nil {
			return fmt.Errorf("%s: extends: %w", printable(source), err)
		}
	}
	c.open = c.open[:len(c.open)-1]
	c.done[key] = true
	c.profiles = append(c.profiles, p)
	return nil
}

// cycle draws the line of extends that came back to key.
func (c *chain) cycle(key string) string {
	var names []string
	for _, k := range append(c.open[slices.Index(c.open, key):], key) {
		source, name, _ := strings.Cut(k, "\x00")
		if name == "" {
			name = source
		}
		names = append(names, name)
	}
	return strings.Join(names, " → ")
}

func (d Dir) source(name string) string {
	if d.builtIn {
		return d.Name
	}
	return path.Join(d.Name, name+".toml")
}

// load parses one profile of the directory; the error is fs.ErrNotExist when it has none of that name.
func (d Dir) load(name string) (*Profile, error) {
	data, err := readFile(d.FS, name+".toml")
	if err != nil {
		return nil, &Error{Step: "profile", Err: fmt.Errorf("read %s: %w", printable(d.source(name)), cause(err))}
	}
	if d.builtIn {
		return parse(name+".toml", builtInWhy+name+": ", data)
	}
	return Parse(d.source(name), data)
}

// readFile reads a regular file of bounded size. A symbolic link is followed: the user's own files are often links.
func readFile(dir fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(dir, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := dir.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// cause takes the act and path out of an error that names them again.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
