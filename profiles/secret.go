package profiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// SecretsFile holds secrets of the user's that belong to no profile; it lies in $XDG_CONFIG_HOME/agentjail.
const SecretsFile = "secrets.toml"

// cacheDefault is how long the answer of a secret's command is good when nobody said. Password managers ask people.
const cacheDefault = 5 * time.Minute

// Source is where a secret's value is.
type Source struct {
	Kind string   // "env", "file", "cmd", "keyring"
	Name string   // of env the variable, of file the path, of keyring the service
	User string   // of keyring
	Argv []string // of cmd: no shell
}

// Source reads From: "env:NAME", "file:PATH", "cmd:ARGV…" or "keyring:SERVICE/USER". The words of a command are parted by blanks;
// quotes, single or double, keep blanks in a word, and nothing is expanded.
func (s Secret) Source() (Source, error) {
	kind, rest, ok := strings.Cut(s.From, ":")
	bad := fmt.Errorf(`%q: must be "env:NAME", "file:PATH", "cmd:ARGV…" or "keyring:SERVICE/USER"`, s.From)
	switch {
	case !ok || rest == "":
		return Source{}, bad
	case kind == "env":
		return Source{Kind: kind, Name: rest}, checkSet(EnvSet{Name: rest})
	case kind == "file":
		return Source{Kind: kind, Name: rest}, checkOwnPath(rest)
	case kind == "keyring":
		service, user, ok := strings.Cut(rest, "/")
		if !ok || service == "" || user == "" {
			return Source{}, bad
		}
		return Source{Kind: kind, Name: service, User: user}, nil
	case kind == "cmd":
		argv, err := words(rest)
		if err == nil && len(argv) == 0 {
			err = bad
		}
		return Source{Kind: kind, Argv: argv}, err
	}
	return Source{}, bad
}

// words parts a command's words as a shell does that knows quotes and nothing else.
func words(s string) ([]string, error) {
	var out []string
	var word strings.Builder
	inWord, quote := false, rune(0)
	for _, r := range s {
		switch {
		case r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			inWord, quote = true, r
		case r == ' ' || r == '\t':
			if inWord {
				out = append(out, word.String())
				word.Reset()
			}
			inWord = false
		default:
			inWord = true
			word.WriteRune(r)
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("%q: a quote that does not end", s)
	}
	if inWord {
		out = append(out, word.String())
	}
	return out, nil
}

// Lifetime is how long the session may use the secret; 0: as long as it lasts.
func (s Secret) Lifetime() (time.Duration, error) {
	if s.TTL == "" {
		return 0, nil
	}
	return ParseDuration(s.TTL)
}

// CacheTime is how long a command's answer is good.
func (s Secret) CacheTime() (time.Duration, error) {
	if s.Cache == "" {
		return cacheDefault, nil
	}
	return ParseDuration(s.Cache)
}

// String is one line: where the value is, where the jail sees its placeholder and who gets it.
func (s Secret) String() string {
	text := s.Name + " from " + s.From
	if s.Env != "" {
		text += " env=" + s.Env
	}
	if s.File != "" {
		text += " file=" + s.File
	}
	if s.Pointer != "" {
		text += " pointer=" + s.Pointer
	}
	text += " hosts=" + strings.Join(s.Hosts, ",")
	if s.Header != "" {
		text += " header=" + s.Header
	}
	if !s.Pin {
		text += " pin=false"
	}
	if s.TTL != "" {
		text += " ttl=" + s.TTL
	}
	if s.Cache != "" {
		text += " cache=" + s.Cache
	}
	return text
}

// check also names the field at fault, as its key is written after the secret's own.
func (s Secret) check() (field string, err error) {
	source, serr := s.Source()
	_, terr := s.Lifetime()
	_, cerr := s.CacheTime()
	switch {
	case s.Name == "":
		return "", errors.New("a secret needs a name")
	case checkSecretName(s.Name) != nil:
		return ".name", checkSecretName(s.Name)
	case s.Env == "" && s.File == "":
		return "", errors.New("a secret needs env or file: where the jail sees its placeholder")
	case s.Env != "" && checkSet(EnvSet{Name: s.Env}) != nil:
		return ".env", checkSet(EnvSet{Name: s.Env})
	case s.File != "" && !strings.HasPrefix(s.File, "~/"):
		return ".file", fmt.Errorf("%q: must be a file of your home: ~/…", s.File)
	case s.File != "" && checkPath(s.File) != nil:
		return ".file", checkPath(s.File)
	case serr != nil:
		return ".from", serr
	case s.Pointer != "" && !pointer(s.Pointer):
		return ".pointer", fmt.Errorf("%q is not a JSON pointer (RFC 6901): write it like /tokens/access_token", s.Pointer)
	case s.Pointer != "" && s.File == "" && source.Kind != "file":
		return ".pointer", errors.New("points into a file, and there is none")
	case !header(s.Header):
		return ".header", fmt.Errorf(`%q: must be the name of a header field, "NAME: SCHEME" or "query:NAME"`, s.Header)
	case terr != nil:
		return ".ttl", terr
	case cerr != nil:
		return ".cache", cerr
	case s.Cache != "" && source.Kind != "cmd" && source.Kind != "keyring":
		return ".cache", errors.New("belongs to a value that comes from a command or a keyring")
	}
	for i, h := range s.Hosts {
		if _, port, found := strings.Cut(h, ":"); found && strings.Trim(port, "0123456789") == "" {
			return fmt.Sprintf(".hosts[%d]", i), fmt.Errorf("%q: a host has no port here", h)
		}
		if err := checkHost(h); err != nil {
			return fmt.Sprintf(".hosts[%d]", i), err
		}
	}
	return "", nil
}

func checkSecretName(s string) error {
	if !word(s, letter+digit, letter+digit+"._-") || len(s) > 64 {
		return fmt.Errorf("%q is not the name of a secret: letters, digits, ., - and _", s)
	}
	return nil
}

// checkOwnPath takes a path that does not depend on the project, which the agent writes.
func checkOwnPath(s string) error {
	if !strings.HasPrefix(s, "/") && !strings.HasPrefix(s, "~/") {
		return fmt.Errorf("%q: must be absolute or under ~", s)
	}
	return checkPath(s)
}

// pointer says whether s is a JSON pointer (RFC 6901 section 3) that is not the whole document.
func pointer(s string) bool {
	unescaped := strings.NewReplacer("~0", "", "~1", "").Replace(s)
	return strings.HasPrefix(s, "/") && !strings.Contains(unescaped, "~")
}

// header takes a field name (RFC 9110 section 5.1), a field name and an authentication scheme, or a query parameter.
func header(s string) bool {
	name, scheme, found := strings.Cut(s, ":")
	scheme = strings.TrimPrefix(scheme, " ")
	const tchar = "!#$%&'*+-.^_`|~" + digit + letter
	token := func(s string) bool { return word(s, tchar, tchar) }
	return s == "" || token(name) && (!found || token(scheme))
}

// WithSecrets gives p with the secrets switched on that names say (--secret). One that p does not define comes from SecretsFile in
// configDir. A name that nobody defines is an error that shows those that are.
func WithSecrets(p *Profile, configDir string, names []string) (*Profile, error) {
	if len(names) == 0 {
		return p, nil
	}
	out := Merge(p, nil)
	own, err := ownSecrets(configDir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		of := func(s Secret) bool { return s.Name == name }
		if !slices.ContainsFunc(out.Secrets, of) {
			i := slices.IndexFunc(own, of)
			if i < 0 {
				return nil, noSecret(name, slices.Concat(p.Secrets, own))
			}
			out.Secrets = append(out.Secrets, own[i])
		}
		out.Use = join(out.Use, []Item{{Value: name, Why: "--secret"}})
	}
	return out, nil
}

func noSecret(name string, known []Secret) error {
	hint := "define it: a [[secret]] in " + SecretsFile + " beside your profiles, or in a profile"
	if len(known) > 0 {
		var names []string
		for _, s := range known {
			names = append(names, s.Name)
		}
		hint = "defined are " + strings.Join(names, ", ")
	}
	return profileError(hint, "--secret %s: nobody defines it", printable(name))
}

// ownSecrets reads SecretsFile, which holds [[secret]] and nothing else.
func ownSecrets(configDir string) ([]Secret, error) {
	name := filepath.Join(configDir, SecretsFile)
	data, err := readFile(os.DirFS(configDir), SecretsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &Error{Step: "profile", Err: fmt.Errorf("read %s: %w", printable(name), cause(err))}
	}
	p, err := Parse(name, data)
	if err != nil {
		return nil, err
	}
	if wider := Widens(&Profile{}, &Profile{FS: p.FS, Net: p.Net, Env: p.Env, Syscalls: p.Syscalls, Match: p.Match, Extends: p.Extends}); len(wider) > 0 {
		return nil, profileError("write a profile for the rest", "%s holds more than [[secret]]: %s", printable(name), wider[0].Why)
	}
	return p.Secrets, nil
}
