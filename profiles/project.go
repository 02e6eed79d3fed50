package profiles

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ProjectFile is the name of the project's own profile.
const ProjectFile = ".agentjail.toml"

// LoadProject reads DIR/.agentjail.toml and gives the profile and the very bytes that it was read from, which are what Trust
// judges. Both are nil when there is no such file. The file is the agent's to write: a symbolic link, a FIFO, a device or
// anything else but a regular file is an error, and so is one that is too long. It cannot extend or match anything, and it
// never defines a secret, trusted or not: where a credential of the user's comes from and goes to is not for the agent to write.
func LoadProject(dir string) (*Profile, []byte, error) {
	name := filepath.Join(dir, ProjectFile)
	raw, err := readProject(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, &Error{Step: "project", Err: fmt.Errorf("read %s: %w", printable(name), cause(err)),
			Hint: "the project's profile must be a plain file, or not be there"}
	}
	p, err := Parse(ProjectFile, raw)
	if err != nil {
		return nil, raw, err
	}
	if len(p.Secrets) > 0 {
		return nil, raw, &Error{Step: "project", Err: fmt.Errorf("%s: secret has no place in a project's own profile", ProjectFile),
			Hint: "define it in " + SecretsFile + " beside your profiles and switch it on with --secret"}
	}
	for key, values := range map[string][]string{"extends": p.Extends, "match": p.Match} {
		if len(values) > 0 {
			return nil, raw, &Error{Step: "project", Err: fmt.Errorf("%s: %s has no meaning in a project's own profile", ProjectFile, key),
				Hint: "take the key out"}
		}
	}
	return p, raw, nil
}

func readProject(name string) ([]byte, error) {
	// O_NOFOLLOW: a link may point to a file that the jail cannot read. O_NONBLOCK: opening a FIFO for reading waits for a writer.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, errors.New("is a symbolic link")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("more than %d bytes", maxFile)
	}
	return raw, err
}
