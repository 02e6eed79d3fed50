package integration

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func init() { programs["judged"] = program(judged) }

// A judgement is one thing that other people's tests ask of a container, written anew: what OCI's runtimetest validates of the runtime
// specification (config.md, config-linux.md, runtime-linux.md), and what bubblewrap's tests ask of a sandbox.
type judgement struct {
	name  string
	wall  bool // outside it is not so
	check func(said map[string]string) error
}

var judgements = []judgement{
	{"oci process.user", false, func(said map[string]string) error {
		return same(fmt.Sprint(os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid()), said["ids"])
	}},
	{"oci process.args", false, func(map[string]string) error {
		text, err := os.ReadFile("/proc/self/cmdline")
		_, args, _ := strings.Cut(string(text), "\x00") // the first is a path, and testscript leaves its base name in os.Args
		return errors.Join(err, same(args, strings.Join(os.Args[1:], "\x00")+"\x00"))
	}},
	{"oci process.cwd", false, func(said map[string]string) error {
		dir, err := unix.Getwd()
		return errors.Join(err, same(dir, said["dir"]))
	}},
	{"oci process.env", true, func(map[string]string) error {
		return errors.Join(same(os.Getenv("JUDGE_GIVEN"), "given"), same(os.Getenv("JUDGE_KEPT"), ""))
	}},
	{"oci process.noNewPrivileges", true, statusIs("NoNewPrivs", "1")},
	{"oci process.capabilities", true, func(said map[string]string) error {
		var bad []error
		for _, set := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
			bad = append(bad, statusIs(set, "0000000000000000")(said))
		}
		return errors.Join(bad...)
	}},
	{"oci process.rlimits", true, func(map[string]string) error {
		var files, core unix.Rlimit
		err := errors.Join(unix.Getrlimit(unix.RLIMIT_NOFILE, &files), unix.Getrlimit(unix.RLIMIT_CORE, &core))
		return errors.Join(err, same(fmt.Sprint(files, core), "{1234 1234} {0 0}"))
	}},
	{"oci process.oomScoreAdj", false, func(said map[string]string) error {
		text, err := os.ReadFile("/proc/self/oom_score_adj")
		return errors.Join(err, same(strings.TrimSpace(string(text)), said["oom"]))
	}},
	{"oci hostname", true, func(map[string]string) error {
		name, err := os.Hostname()
		return errors.Join(err, same(name, "agentjail"))
	}},
	{"oci root.readonly", true, func(map[string]string) error { return readOnly("/") }},
	{"oci linux.rootfsPropagation", false, func(map[string]string) error {
		return eachMount(func(m mountLine) error {
			if strings.Contains(m.optional, ":") {
				return fmt.Errorf("%s is %s", m.at, m.optional)
			}
			return nil
		})
	}},
	{"oci mounts", true, func(map[string]string) error {
		return hasMounts(map[string]string{
			"/": "tmpfs ro", "/proc": "proc nosuid,nodev,noexec", "/dev/pts": "devpts nosuid,noexec", "/dev/shm": "tmpfs nosuid,nodev",
			"/dev/mqueue": "mqueue nosuid,nodev,noexec", "/tmp": "tmpfs nosuid,nodev",
		})
	}},
	// runtime-linux.md, "Default filesystems", has /sys as well: a jail has none, for it shows the machine.
	{"oci default filesystems, but for /sys", true, func(map[string]string) error { return absent("/sys") }},
	{"oci default devices", false, func(map[string]string) error {
		var bad []error
		for name, number := range map[string]uint64{"null": unix.Mkdev(1, 3), "zero": unix.Mkdev(1, 5), "full": unix.Mkdev(1, 7),
			"random": unix.Mkdev(1, 8), "urandom": unix.Mkdev(1, 9), "tty": unix.Mkdev(5, 0), "ptmx": unix.Mkdev(5, 2)} {
			var st unix.Stat_t
			err := unix.Stat("/dev/"+name, &st)
			bad = append(bad, err, same(fmt.Sprint(st.Rdev, st.Mode), fmt.Sprint(number, unix.S_IFCHR|0o666)))
		}
		return errors.Join(bad...)
	}},
	{"oci default symlinks", false, func(map[string]string) error {
		var bad []error
		for name, want := range map[string]string{"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"} {
			to, err := os.Readlink("/dev/" + name)
			bad = append(bad, err, same(to, "/proc/self/fd"+want))
		}
		return errors.Join(bad...)
	}},
	{"oci linux.maskedPaths", true, func(map[string]string) error {
		var bad []error
		for _, name := range []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
			"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware", "/sys/devices/virtual/powercap"} {
			bad = append(bad, empty(name))
		}
		return errors.Join(bad...)
	}},
	// Of procfs alone, and what it shows of the machine: each is empty, and by a mount and not by its mode or for want of hardware.
	{"runc: masked parts of /proc are mounts", true, func(map[string]string) error {
		there := map[string]bool{}
		bad := []error{eachMount(func(m mountLine) error {
			there[m.at] = m.kind == "tmpfs" && m.has("ro") && m.has("nosuid") && m.has("nodev") && m.has("noexec") || m.kind == "devtmpfs" && m.root == "/null"
			return nil
		})}
		for _, name := range []string{"acpi", "asound", "interrupts", "kcore", "keys", "kmsg", "kpagecgroup", "kpagecount", "kpageflags", "latency_stats",
			"mtrr", "pagetypeinfo", "sched_debug", "scsi", "slabinfo", "timer_list", "timer_stats", "vmallocinfo"} {
			if _, err := os.Lstat("/proc/" + name); err == nil && !there["/proc/"+name] {
				bad = append(bad, fmt.Errorf("nothing covers /proc/%s", name))
			}
			bad = append(bad, empty("/proc/"+name))
		}
		return errors.Join(bad...)
	}},
	{"oci linux.readonlyPaths", true, func(map[string]string) error {
		var bad []error
		for _, name := range []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"} {
			var st unix.Statfs_t
			if err := unix.Statfs(name, &st); err == nil && st.Flags&unix.ST_RDONLY == 0 {
				bad = append(bad, fmt.Errorf("%s can be written", name))
			}
		}
		return errors.Join(bad...)
	}},
	{"oci linux.seccomp", true, statusIs("Seccomp", "2")},
	{"oci linux.uidMappings, gidMappings", true, func(said map[string]string) error {
		uids, err1 := os.ReadFile("/proc/self/uid_map")
		gids, err2 := os.ReadFile("/proc/self/gid_map")
		return errors.Join(err1, err2, same(fmt.Sprint(strings.Fields(string(uids)), strings.Fields(string(gids))), said["maps"]))
	}},
	{"oci linux.namespaces", true, func(said map[string]string) error {
		var bad []error
		for _, name := range namespaces {
			link, err := os.Readlink("/proc/self/ns/" + name)
			if bad = append(bad, err); link == said[name] {
				bad = append(bad, fmt.Errorf("the %s namespace is the caller's", name))
			}
		}
		return errors.Join(bad...)
	}},
	// What the command may see of init, which libcontainer's tests ask of a container's first process.
	{"runc: init has CAP_SETFCAP alone, and no_new_privs", true, func(map[string]string) error {
		var bad []error
		for key, want := range map[string]string{"CapInh": "0000000000000000", "CapPrm": "0000000080000000", "CapEff": "0000000080000000",
			"CapBnd": "0000000080000000", "CapAmb": "0000000000000000", "NoNewPrivs": "1"} {
			bad = append(bad, status("1", key, want))
		}
		return errors.Join(bad...)
	}},
	{"runc: init leads a session", false, func(map[string]string) error { return status("1", "NSsid", "1") }},
	{"runc: init's mounts are the command's", false, func(map[string]string) error {
		theirs, err1 := os.ReadFile("/proc/1/mountinfo")
		ours, err2 := os.ReadFile("/proc/self/mountinfo")
		return errors.Join(err1, err2, same(string(theirs), string(ours)))
	}},
	{"bubblewrap: no write through a read-only bind", true, func(said map[string]string) error {
		return errors.Join(readOnly(said["shown"]), readOnly("/proc/self/root"+said["shown"]), readOnly("../shown"))
	}},
	{"bubblewrap: the processes of the PID namespace alone", true, func(map[string]string) error {
		pids, err := filepath.Glob("/proc/[0-9]*")
		if len(pids) > 2 {
			return fmt.Errorf("beside init and this one: %q", pids)
		}
		return err
	}},
	{"bubblewrap: not PID 1, and reaped by it", false, func(map[string]string) error {
		if os.Getpid() == 1 {
			return errors.New("the command is PID 1")
		}
		return nil
	}},
	{"bubblewrap: no nested user namespace (--disable-userns)", true, func(map[string]string) error {
		cmd := exec.Command("/bin/true")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
		if cmd.Run() == nil {
			return errors.New("made one")
		}
		return nil
	}},
	{"bubblewrap: neither the old root nor the way to the new one is left", true, func(said map[string]string) error {
		err := eachMount(func(m mountLine) error {
			if m.device == said["root"] && m.root == "/" {
				return fmt.Errorf("%s is the host's root", m.at)
			}
			return nil
		})
		return errors.Join(err, absent("/oldroot"), absent("/newroot"), absent("/tmp/oldroot"), absent("/tmp/newroot"))
	}},
	{"bubblewrap: .. of / is /", false, func(map[string]string) error {
		a, err1 := os.Stat("/")
		b, err2 := os.Stat("/../..")
		if err := errors.Join(err1, err2); err != nil || os.SameFile(a, b) {
			return err
		}
		return errors.New("there is something above")
	}},
	{"bubblewrap: symlinks lead nowhere else", true, func(said map[string]string) error {
		return errors.Join(absent("link"), absent("/proc/self/root"+said["secret"]), absent("../"+filepath.Base(said["secret"])))
	}},
	{"bubblewrap: links of a merged /usr are followed", false, func(map[string]string) error { return exec.Command("/bin/true").Run() }},
	{"bubblewrap: /etc/shadow", true, func(map[string]string) error { return absent("/etc/shadow") }},
	{"bubblewrap: nothing to write to lends set-id rights or devices", true, func(map[string]string) error {
		return eachMount(func(m mountLine) error {
			device := m.kind == "devtmpfs" && m.root != "/" || m.kind == "devpts"
			if m.has("rw") && (!m.has("nosuid") || !m.has("nodev") && !device) {
				return fmt.Errorf("%s is %s", m.at, m.options)
			}
			return nil
		})
	}},
	{"bubblewrap: no descriptor of the caller's", true, func(map[string]string) error {
		return same(os.NewFile(3, "").Close() != nil, true)
	}},
	{"bubblewrap: sockets without a name on disk (--unshare-net)", true, func(said map[string]string) error {
		return refused("unix", said["abstract"])
	}},
	{"bubblewrap: the host's loopback (--unshare-net)", true, func(said map[string]string) error {
		return refused("tcp", said["tcp"])
	}},
	{"bubblewrap: a loopback of its own that is up", false, func(map[string]string) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
		}
		return err
	}},
	{"bubblewrap: mode of /tmp", false, func(map[string]string) error {
		info, err := os.Stat("/tmp")
		if err != nil {
			return err
		}
		return same(info.Mode(), fs.ModeDir|fs.ModeSticky|0o777)
	}},
}

var namespaces = []string{"mnt", "pid", "ipc", "uts", "net", "cgroup", "user"}

// judged asks each question and says "NAME<tab>what is wrong", or nothing after the tab.
func judged(args []string) error {
	said := map[string]string{}
	for _, arg := range args {
		key, value, _ := strings.Cut(arg, "=")
		said[key] = value
	}
	for _, j := range judgements {
		wrong := ""
		if err := j.check(said); err != nil {
			wrong = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		fmt.Printf("%s\t%s\n", j.name, wrong)
	}
	return nil
}

// TestIndependentJudges asks the questions in a jail, where each must be answered well, and outside, where the walls must not be.
func TestIndependentJudges(t *testing.T) {
	if os.Getuid() == 0 {
		return // about the ordinary user; testdata/root has what is other for root
	}
	dir := t.TempDir()
	project, shown, secret := filepath.Join(dir, "project"), filepath.Join(dir, "shown"), filepath.Join(dir, "secret")
	for _, err := range []error{os.Mkdir(project, 0o755), os.Mkdir(shown, 0o755), os.WriteFile(secret, []byte("x"), 0o600),
		os.Symlink(secret, filepath.Join(project, "link")), copyFile(filepath.Join(project, "judged"), "/proc/self/exe")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	open, err := os.Open(secret)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	said := map[string]string{"dir": project, "shown": shown, "secret": secret, "abstract": fmt.Sprintf("@agentjail-judge-%d", os.Getpid())}
	for network, address := range map[string]string{"unix": said["abstract"], "tcp": "127.0.0.1:0"} {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if network == "tcp" {
			said["tcp"] = l.Addr().String()
		}
	}
	uid, gid := os.Getuid(), os.Getgid()
	said["ids"] = fmt.Sprint(uid, uid, gid, gid)
	said["maps"] = fmt.Sprintf("[%d 0 1] [%d 0 1]", uid, gid) // as U1 sees U0
	oom, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		t.Fatal(err)
	}
	said["oom"] = strings.TrimSpace(string(oom))
	for _, name := range namespaces {
		if said[name], err = os.Readlink("/proc/self/ns/" + name); err != nil {
			t.Fatal(err)
		}
	}
	eachMount(func(m mountLine) error {
		if m.at == "/" {
			said["root"] = m.device
		}
		return nil
	})
	var args []string
	for _, key := range slices.Sorted(maps.Keys(said)) {
		args = append(args, key+"="+said[key])
	}
	ask := func(argv ...string) map[string]string {
		cmd := exec.Command(argv[0], append(argv[1:], args...)...)
		cmd.Dir = project
		cmd.Env = append(os.Environ(), "JUDGE_KEPT=kept",
			"XDG_STATE_HOME="+filepath.Join(dir, "state"), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"))
		cmd.ExtraFiles = []*os.File{open}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, stderr.String())
		}
		answers := map[string]string{}
		for line := range strings.Lines(string(out)) {
			name, wrong, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			answers[name] = wrong
		}
		return answers
	}
	inside := ask(os.Getenv("AGENTJAIL_BIN"), "--env", "JUDGE_GIVEN=given", "--limit", "files=1234", "--ro", shown, "--", "./judged")
	outside := ask("./judged")
	for _, j := range judgements {
		t.Run(j.name, func(t *testing.T) {
			if wrong, asked := inside[j.name]; !asked || wrong != "" {
				t.Errorf("in a jail: %q, asked %v", wrong, asked)
			}
			if j.wall && outside[j.name] == "" {
				t.Error("the control: it is so outside as well")
			}
		})
	}
}

func same[T comparable](got, want T) error {
	if got != want {
		return fmt.Errorf("%#v, want %#v", got, want)
	}
	return nil
}

func statusIs(key, want string) func(map[string]string) error {
	return func(map[string]string) error { return status("self", key, want) }
}

func status(pid, key, want string) error {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); name == key {
			return same(strings.TrimSpace(value), want)
		}
	}
	return errors.Join(err, fmt.Errorf("no %s", key))
}

func absent(name string) error {
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there (%v)", name, err)
	}
	return nil
}

// readOnly says whether a mount keeps a directory from being written to, and not its mode.
func readOnly(dir string) error {
	name := filepath.Join(dir, "judged-"+strconv.Itoa(os.Getpid()))
	fd, err := unix.Open(name, unix.O_CREAT|unix.O_WRONLY, 0o600)
	if err == nil {
		return errors.Join(fmt.Errorf("wrote to %s", dir), unix.Close(fd), os.Remove(name))
	}
	return same(err, error(unix.EROFS))
}

// empty says whether there is nothing to read in a file or directory.
func empty(name string) error {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	defer f.Close()
	if entries, err := f.ReadDir(1); len(entries) > 0 {
		return fmt.Errorf("%s has %v", name, entries[0])
	} else if err == io.EOF {
		return nil
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return fmt.Errorf("%s: read %d bytes, %v", name, n, err)
	}
	return nil
}

func refused(network, address string) error {
	c, err := net.Dial(network, address)
	if err == nil {
		c.Close()
		return fmt.Errorf("reached %s", address)
	}
	return nil
}

// mountLine is a line of /proc/self/mountinfo, proc_pid_mountinfo(5).
type mountLine struct{ device, root, at, options, optional, kind string }

func (m mountLine) has(option string) bool {
	return slices.Contains(strings.Split(m.options, ","), option)
}

func eachMount(check func(mountLine) error) error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer f.Close()
	bad := []error{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		front, back, _ := strings.Cut(lines.Text(), " - ")
		w := strings.Fields(front)
		bad = append(bad, check(mountLine{w[2], w[3], w[4], w[5], strings.Join(w[6:], " "), strings.Fields(back)[0]}))
	}
	return errors.Join(append(bad, lines.Err())...)
}

// hasMounts looks for mount points with their type and options.
func hasMounts(want map[string]string) error {
	found := map[string]bool{}
	err := eachMount(func(m mountLine) error {
		if w, ok := want[m.at]; ok {
			kind, options, _ := strings.Cut(w, " ")
			found[m.at] = true
			for option := range strings.SplitSeq(options, ",") {
				if m.kind != kind || !m.has(option) {
					return fmt.Errorf("%s is %s %s, want %s", m.at, m.kind, m.options, w)
				}
			}
		}
		return nil
	})
	for at := range want {
		if !found[at] {
			err = errors.Join(err, fmt.Errorf("nothing is mounted at %s", at))
		}
	}
	return err
}
