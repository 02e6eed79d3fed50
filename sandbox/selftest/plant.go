package selftest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// ground is the directory of a run and what is planted beside it.
type ground struct {
	dir     string
	program string // the copy of the binary
	shared  target // what does not differ between the sides
	ca      string // the file of the servers' authority
	keys    map[string]string
	server  *server
	undo    cleanups
}

// trees are the sides that have a home and a project of their own.
var trees = []string{roleAttack, roleOutside, roleOther}

// plant makes everything that the attempts are after.
func plant() (*ground, error) {
	g := &ground{keys: map[string]string{}}
	err := g.plant()
	if err != nil {
		g.undo.run()
		return nil, err
	}
	return g, nil
}

func (g *ground) plant() (err error) {
	j, err := hire()
	if err != nil {
		return err
	}
	g.undo.add(j.dismiss)
	temp, err := temporary()
	if err != nil {
		return err
	}
	g.dir = filepath.Join(temp, Name+"-"+rand.Text())
	if err := j.told(planted{Dir: g.dir}); err != nil {
		return err
	}
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		return noPlace(err, "set TMPDIR to a directory that you may write to")
	}
	g.undo.add(func() { os.RemoveAll(g.dir) })
	g.program = filepath.Join(g.dir, Name)
	if err := copySelf(g.program); err != nil {
		return noPlace(err, "set TMPDIR to a directory with room for a copy of this binary")
	}
	if err := unix.Access(g.program, unix.X_OK); err != nil { // the mount's doing: mount(8), "noexec"
		return noPlace(fmt.Errorf("execute %s: %w", g.program, err), "set TMPDIR to a directory that is not on a file system mounted noexec")
	}
	word := rand.Text()
	t := &g.shared
	t.Token, t.State = "selftest-"+rand.Text(), filepath.Join(g.dir, "state")
	t.Abstract, t.Queue = Name+"-"+word, Name+"-"+word
	t.Other = session{Token: "selftest-" + rand.Text(), File: Name + "-" + word, Abstract: Name + "-other-" + word, Queue: Name + "-other-" + word,
		Port: 7077, Runner: process{Role: roleOther, Mark: word}, Project: filepath.Join(g.dir, roleOther, "home/code/project")}
	for _, key := range []*int{&t.ShmKey, &t.SemaphKey, &t.MsgKey, &t.Other.ShmKey} {
		n, err := rand.Int(rand.Reader, big.NewInt(1<<30))
		if err != nil {
			return err
		}
		*key = int(n.Int64()) + 1
	}
	for _, side := range trees {
		g.keys[side] = "sk-selftest-" + rand.Text() + rand.Text()
		token := t.Token
		if side == roleOther {
			token = t.Other.Token
		}
		if err := g.tree(side, token); err != nil {
			return err
		}
	}
	for into, dir := range map[*string]string{&t.Temp: temp, &t.VarTemp: "/var/tmp", &t.Shm: "/dev/shm"} {
		*into = filepath.Join(dir, Name+"-"+word)
		if err := j.told(planted{File: *into}); err != nil {
			return err
		}
		if err := os.WriteFile(*into, []byte(t.Token), 0o600); err != nil {
			continue // the control says so
		}
		g.undo.add(func() { os.Remove(*into) })
	}
	if err := put(filepath.Join(t.State, "agentjail/trust/planted"), t.Token); err != nil {
		return err
	}
	t.Account = account()
	for _, p := range []planted{{Shm: t.ShmKey}, {Sem: t.SemaphKey}, {Msg: t.MsgKey}, {Queue: t.Queue}} {
		if err := j.told(p); err != nil {
			return err
		}
	}
	if err := makeSegment(t.ShmKey, t.Token, &g.undo); err != nil {
		return err
	}
	if err := makeQueue(t.Queue, &g.undo); err != nil {
		return err
	}
	if err := makeIPC(t, &g.undo); err != nil {
		return err
	}
	return g.serve()
}

// temporary is the directory in which all lies that is planted: TMPDIR, by a name that a profile and a job can hold.
func temporary() (string, error) {
	dir, err := filepath.Abs(os.TempDir())
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return "", noPlace(err, "set TMPDIR to a directory of yours")
	}
	if !utf8.ValidString(dir) || strings.ContainsFunc(dir, unicode.IsControl) {
		return "", noPlace(fmt.Errorf("%q: no profile can name a path in it", dir),
			"set TMPDIR to a directory without control characters in its name, in UTF-8")
	}
	return dir, nil
}

// noPlace is the error of a temporary directory that is of no use.
func noPlace(err error, hint string) error { return &Error{fmt.Errorf("TMPDIR: %w", err), hint} }

// tree makes a home with a project in it.
func (g *ground) tree(side, token string) error {
	home := filepath.Join(g.dir, side, "home")
	for _, name := range []string{".ssh/id_ed25519", ".aws/credentials", ".netrc", ".bash_history", ".kube/config", ".config/gh/hosts.yml",
		".mozilla/firefox/profile/cookies.sqlite", ".bashrc", ".local/bin/tool", "marker", "code/beside/code.txt", "code/beside/marker"} {
		if err := put(filepath.Join(home, name), token); err != nil {
			return err
		}
	}
	for _, name := range []string{".env", "config/.env", ".envrc", ".vscode/tasks.json", ".claude/settings.json", ".mcp.json", ".npmrc",
		".github/workflows/ci.yml", ".agentjail.toml", ".git/hooks/pre-commit", ".git/hooks/marker", ".git/description"} {
		if err := put(filepath.Join(home, "code/project", name), "# "+token+"\n"); err != nil {
			return err
		}
	}
	git := filepath.Join(home, "code/project/.git")
	for _, dir := range []string{"objects", "refs/heads"} {
		if err := os.MkdirAll(filepath.Join(git, dir), 0o700); err != nil {
			return err
		}
	}
	if err := put(filepath.Join(git, "HEAD"), "ref: refs/heads/main\n"); err != nil {
		return err
	}
	if err := put(filepath.Join(git, "config"), "# "+token+"\n[core]\n\trepositoryformatversion = 0\n"); err != nil {
		return err
	}
	return os.Symlink("../../.ssh/id_ed25519", filepath.Join(home, "code/project/link-to-key"))
}

func put(name, text string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), 0o600)
}

// serve starts the servers that a jail must not reach, or only by its door.
func (g *ground) serve() error {
	t := &g.shared
	authority, cert, err := certificate([]string{tunnelHost, inspectHost, keyedHost})
	if err != nil {
		return err
	}
	g.ca = filepath.Join(g.dir, "ca.pem")
	if err := os.WriteFile(g.ca, authority, 0o600); err != nil {
		return err
	}
	g.server = &server{token: t.Token}
	g.undo.add(g.server.close)
	// Not of 127.0.0.1 alone: 0.0.0.0 and 127.8.8.8 mean the same machine, and nobody else learns of the port.
	web, err := g.server.listen("tcp4", "127.0.0.1:0", nil)
	if err != nil {
		return err
	}
	t.TCP, t.Port = web.String(), web.(*net.TCPAddr).Port
	// One can listen on a device that is down, as in a network namespace that nobody has set up (unshare -n); nobody can connect then.
	up, err := net.DialTimeout("tcp4", t.TCP, dialTime)
	if err != nil {
		return &Error{fmt.Errorf("the loopback device, on which the test has its servers: %w", err), "ip link set lo up"}
	}
	up.Close()
	if _, err := g.server.listen("tcp4", fmt.Sprintf("127.8.8.8:%d", t.Port), nil); err != nil {
		return err
	}
	secure, err := g.server.listen("tcp4", "127.0.0.1:0", cert)
	if err != nil {
		return err
	}
	datagrams, err := g.server.listenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	t.UDP, t.Agent = datagrams.String(), filepath.Join(g.dir, "agent")
	err = viaDirectory(t.Agent, func(name string) error {
		_, err := g.server.listen("unix", name, nil)
		return err
	})
	if err != nil {
		return err
	}
	err = viaDirectory(t.Agent+".dgram", func(name string) error {
		_, err := g.server.listenPacket("unixgram", name)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := g.server.listen("unix", "@"+t.Abstract, nil); err != nil {
		return err
	}
	t.Direct = map[string]string{}
	for _, host := range []string{plainHost, "sub." + plainHost, closedHost} {
		t.Direct[host+":80"] = t.TCP
	}
	for _, host := range []string{tunnelHost, inspectHost, keyedHost} {
		t.Direct[host+":443"] = secure.String()
	}
	ca := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(g.ca) // TOML's basic strings
	for side, more := range map[string]string{roleAttack: attackProfile, roleOther: otherProfile} {
		text := fmt.Sprintf(doorProfile+more, t.TCP, secure.String(), ca)
		if err := os.WriteFile(filepath.Join(g.dir, side+".toml"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// side is the target of one tree's attempts. Where a door stands, hosts have names and the key is a sum.
func (g *ground) side(tree string) target {
	t := g.shared
	t.Home = filepath.Join(g.dir, tree, "home")
	t.Project, t.Beside = filepath.Join(t.Home, "code/project"), filepath.Join(t.Home, "code/beside")
	sum := sha256.Sum256([]byte(g.keys[tree]))
	t.KeySum = hex.EncodeToString(sum[:])
	if tree != roleOutside {
		t.Direct = nil
	}
	return t
}

// account is the name of a user of the machine's that says something about it.
func account() string {
	data, _ := os.ReadFile("/etc/passwd")
	for l := range strings.Lines(string(data)) {
		fields := strings.Split(l, ":")
		if len(fields) > 2 && fields[0] != "nobody" && fields[2] != "0" && fields[2] != itoa(os.Getuid()) && fields[2] != os.Getenv("SUDO_UID") {
			return fields[0]
		}
	}
	return "no account but the caller's"
}
