package integration

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The benchmarks run what they compare in turn, a round each, and give medians and the ratio of medians: on a shared machine two runs a
// second apart are alike and two minutes apart are not. `make bench` runs them; BENCHMARKS.md says what came of it.

// BenchmarkStart is a whole run of true: launch, end and clean-up. bwrap is given the namespaces and what a person would bind for an agent,
// and as bwrap-same all that the jail's plan mounts, and its filter; it has no network and no door. Other sandboxes are measured where they
// are installed.
func BenchmarkStart(b *testing.B) {
	env := benchProject(b, "")
	dir := env[0][len("PWD="):]
	contenders := []contender{
		{"bare", []string{"true"}},
		{"jail", []string{os.Getenv("AGENTJAIL_BIN"), "--", "true"}},
		{"jail-no-network", []string{os.Getenv("AGENTJAIL_BIN"), "--net", "none", "--", "true"}},
	}
	filter, err := os.Open(fmt.Sprintf("../seccomp/programs/%s.bpf", runtime.GOARCH))
	if err != nil {
		b.Fatal(err)
	}
	defer filter.Close()
	for _, other := range []contender{
		{"bwrap", append([]string{"bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin",
			"--symlink", "usr/sbin", "/sbin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--ro-bind", "/etc/passwd", "/etc/passwd",
			"--ro-bind", "/etc/group", "/etc/group", "--ro-bind", "/etc/ssl", "/etc/ssl", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
			"--tmpfs", "/run", "--tmpfs", "/var/tmp", "--tmpfs", "/home", "--bind", dir, dir, "--chdir", dir}, "--", "true")},
		{"bwrap-same", alike(b, env, filter)},
		{"firejail", []string{"firejail", "--quiet", "--noprofile", "--net=none", "--seccomp", "--", "true"}},
		{"srt", []string{"srt", "true"}},
		{"podman", []string{"podman", "run", "--rm", "--network=none", "--rootfs", "/", "true"}},
	} {
		if _, err := exec.LookPath(other.argv[0]); err == nil {
			contenders = append(contenders, other)
		}
	}
	compare(b, contenders, func(c contender) (float64, error) {
		if _, err := filter.Seek(0, io.SeekStart); err != nil {
			return 0, err
		}
		start := time.Now()
		err := run(env, nil, c.argv...)
		return time.Since(start).Seconds() * 1000, err
	}, "ms")
}

// alike is bwrap with the mounts of the jail's plan and its filter; the files that the plan makes are binds of one that is there.
func alike(b *testing.B, env []string, filter *os.File) []string {
	var out bytes.Buffer
	if err := run(env, &out, os.Getenv("AGENTJAIL_BIN"), "plan", "--json", "--", "true"); err != nil {
		b.Fatal(err)
	}
	var plan struct {
		Project string
		Mounts  []struct {
			Kind, Source, Target string
			ReadOnly             bool `json:"read_only"`
		}
	}
	if err := json.Unmarshal(out.Bytes(), &plan); err != nil {
		b.Fatal(err)
	}
	if _, err := unix.FcntlInt(filter.Fd(), unix.F_SETFD, 0); err != nil { // bwrap has it under this number
		b.Fatal(err)
	}
	argv := []string{"bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--seccomp", strconv.Itoa(int(filter.Fd())), "--proc", "/proc", "--dev", "/dev"}
	for _, m := range plan.Mounts {
		switch {
		case m.Target == "/proc" || m.Target == "/dev" || strings.HasPrefix(m.Target, "/dev/"):
		case m.Kind == "bind" && m.ReadOnly:
			argv = append(argv, "--ro-bind", m.Source, m.Target)
		case m.Kind == "bind":
			argv = append(argv, "--bind", m.Source, m.Target)
		case m.Kind == "file":
			argv = append(argv, "--ro-bind", "/etc/passwd", m.Target)
		case m.Kind == "symlink":
			argv = append(argv, "--symlink", m.Source, m.Target)
		case m.Kind == "tmpfs" || m.Kind == "dir":
			argv = append(argv, "--"+m.Kind, m.Target)
		}
	}
	return append(argv, "--chdir", plan.Project, "--", "true")
}

// BenchmarkFlat is a run of true where there is more to look at; each is to cost what the first does.
func BenchmarkFlat(b *testing.B) {
	env := benchProject(b, "")
	dir := env[0][len("PWD="):]
	crowd := filepath.Join(filepath.Dir(dir), "crowd")
	for i := range 100_000 {
		sub := filepath.Join(crowd, strconv.Itoa(i/1000))
		if i%1000 == 0 {
			if err := os.MkdirAll(sub, 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(sub, strconv.Itoa(i)), nil, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	jail := os.Getenv("AGENTJAIL_BIN")
	hosts, mounts := []string{jail}, []string{jail}
	for i := range 500 {
		hosts = append(hosts, "--allow", fmt.Sprintf("h%d.example.com", i))
	}
	for i := range 50 {
		place := filepath.Join(filepath.Dir(dir), "mounts", strconv.Itoa(i))
		if err := os.MkdirAll(place, 0o755); err != nil {
			b.Fatal(err)
		}
		mounts = append(mounts, "--ro", place)
	}
	compare(b, []contender{
		{"jail", []string{jail, "--", "true"}},
		{"100000-files", []string{jail, "--project", crowd, "--", "true"}},
		{"500-hosts", append(hosts, "--", "true")},
		{"50-mounts", append(mounts, "--", "true")},
	}, func(c contender) (float64, error) {
		start := time.Now()
		err := run(env, nil, c.argv...)
		return time.Since(start).Seconds() * 1000, err
	}, "ms")
}

// BenchmarkDoor has one client and one server, over plain loopback, through a tunnel and through inspection, and beside these through the
// least that a proxy can be (floor).
func BenchmarkDoor(b *testing.B) {
	server := startLoadServer(b)
	relay, bare := startFloor(b, "tunnel", server), startFloor(b, "inspect", server)
	for _, bm := range []struct{ name, measure, unit string }{
		{"down", "down:536870912", "s"},
		{"up", "up:536870912", "s"},
		{"small-gets", "gets:8:4000", "s"},
		{"new-connection", "fresh:40", "s"},
		{"warm-request", "warm:300", "s"},
		{"event", "events:100", "s"},
		{"event-beside-download", "beside:200", "s"},
		{"event-beside-tunnel", "beside-tunnel:200", "s"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			env := benchProject(b, server.profile)
			jail := []string{os.Getenv("AGENTJAIL_BIN"), "-p", "../door.toml", "--", "./load"}
			compare(b, []contender{
				{"direct", []string{"./load", "https://tunnel.example", server.ca, server.address, bm.measure}},
				{"tunnel-floor", []string{"./load", "https://tunnel.example", relay.ca, relay.address, bm.measure}},
				{"inspect-floor", []string{"./load", "https://tunnel.example", bare.ca, bare.address, bm.measure}},
				{"tunnel", append(jail[:len(jail):len(jail)], "https://tunnel.example", "-", "-", bm.measure)},
				{"inspect", append(jail[:len(jail):len(jail)], "https://inspect.example", "-", "-", bm.measure)},
			}, func(c contender) (float64, error) { return number(env, c.argv) }, bm.unit)
		})
	}
	b.Run("dns", func(b *testing.B) {
		env := benchProject(b, server.profile)
		direct := startFloor(b, "dns", server)
		compare(b, []contender{
			{"direct", []string{"./load", "https://tunnel.example", "-", direct.address, "dns:300"}},
			{"jail", []string{os.Getenv("AGENTJAIL_BIN"), "-p", "../door.toml", "--", "./load", "https://tunnel.example", "-", "-", "dns:300"}},
		}, func(c contender) (float64, error) { return number(env, c.argv) }, "s")
	})
}

// BenchmarkDoorWork is the processor time that the door takes, and the least that a proxy can be, whoever else waits for a processor. The
// jails' has 20 ms of a launch in it.
func BenchmarkDoorWork(b *testing.B) {
	server := startLoadServer(b)
	relay, bare := startFloor(b, "tunnel", server), startFloor(b, "inspect", server)
	for _, bm := range []struct {
		name, measure, unit string
		n                   float64 // units that are measured at once
	}{
		{"down", "down:268435456", "s/GiB", 0.25},
		{"up", "up:268435456", "s/GiB", 0.25},
		{"small-gets", "gets:8:20000", "ms/request", 20},
	} {
		b.Run(bm.name, func(b *testing.B) {
			env := benchProject(b, server.profile)
			compare(b, []contender{
				{"tunnel-floor", []string{"./load", "https://tunnel.example", relay.ca, relay.address, bm.measure}},
				{"inspect-floor", []string{"./load", "https://tunnel.example", bare.ca, bare.address, bm.measure}},
				{"tunnel", []string{"./load https://tunnel.example - - " + bm.measure}},
				{"inspect", []string{"./load https://inspect.example - - " + bm.measure}},
			}, func(c contender) (seconds float64, err error) {
				if f, is := map[string]floorProxy{"tunnel-floor": relay, "inspect-floor": bare}[c.name]; is {
					before := ownSeconds(b, f.pid)
					_, err = number(env, c.argv)
					return (ownSeconds(b, f.pid) - before) / bm.n, err
				}
				atRest(b, env, c.argv[0], func(launcher int) { seconds = ownSeconds(b, launcher) })
				return seconds / bm.n, nil
			}, bm.unit)
		})
	}
}

// BenchmarkMemory is the proportional share of memory (PSS, proc(5)) of all that a sandbox runs beside a command that waits, and what of
// it is theirs alone. A kernel that maps large folios of a binary that was just written counts more of it.
func BenchmarkMemory(b *testing.B) {
	env := benchProject(b, "")
	for b.Loop() {
		atRest(b, env, "true", func(launcher int) {
			least := map[string]int64{}
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for range 30 { // what a launch took is given back after a second
				<-tick.C
				for _, key := range []string{"Pss", "Pss_Anon"} {
					if sum, _ := memory(launcher, key); least[key] == 0 || sum < least[key] {
						least[key] = sum
					}
				}
			}
			for key, sum := range least {
				b.ReportMetric(float64(sum)/1000, key+"-MB")
			}
		})
	}
	b.ReportMetric(0, "ns/op")
}

// oneRule has a process filter itself by the shortest program there is (seccomp(2)): what any filter takes, however it is written.
const oneRule = "import ctypes,struct\nrule=ctypes.create_string_buffer(struct.pack('HBBI',6,0,0,0x7fff0000))\n" +
	"program=ctypes.create_string_buffer(struct.pack('HxxxxxxQ',1,ctypes.addressof(rule)))\nprctl=ctypes.CDLL(None).prctl\n" +
	"prctl(38,1,0,0,0)\nassert prctl(22,2,program)==0\n"

// BenchmarkCommand is the command itself: processor time of what the filter looks at, and what users do forty times a day.
func BenchmarkCommand(b *testing.B) {
	env := benchProject(b, "")
	for _, bm := range []struct{ name, script string }{
		{"syscalls", "import os,time\nt=time.perf_counter()\nfor _ in range(300000): os.getppid()\nprint(time.perf_counter()-t)"},
		{"files", "import os,time\nt=time.perf_counter()\nfor i in range(20000):\n os.close(os.open('/usr/bin/env',os.O_RDONLY)); os.stat('/usr/bin')\nprint(time.perf_counter()-t)"},
		{"git-status", "import subprocess,time\nif subprocess.call(['test','-d','tree/.git']):\n subprocess.check_call('mkdir tree; cd tree; git init -q; " +
			"for d in $(seq 200); do mkdir d$d; for f in $(seq 50); do echo $d > d$d/f$f; done; done; git add .', shell=True)\n" +
			"t=time.perf_counter()\nfor _ in range(5): subprocess.check_call(['git','-C','tree','status','--porcelain'],stdout=subprocess.DEVNULL)\nprint(time.perf_counter()-t)"},
		{"compile", "import subprocess,time\nopen('c.c','w').write('#include <stdio.h>\\n'+''.join('int f%d(int x){return x*%d;}\\n'%(i,i) for i in range(2000)))\n" +
			"t=time.perf_counter()\nsubprocess.check_call(['cc','-O2','-c','c.c'])\nprint(time.perf_counter()-t)"},
		{"compute", "import time,zlib\nt=time.perf_counter()\nfor _ in range(20): zlib.compress(bytes(2000000))\nprint(time.perf_counter()-t)"},
	} {
		b.Run(bm.name, func(b *testing.B) {
			python := []string{"/usr/bin/python3", "-c", bm.script}
			compare(b, []contender{
				{"bare", python},
				{"one-rule", []string{"/usr/bin/python3", "-c", oneRule + bm.script}},
				{"jail", append([]string{os.Getenv("AGENTJAIL_BIN"), "--"}, python...)},
			}, func(c contender) (float64, error) { return number(env, c.argv) }, "s")
		})
	}
}

// contender is one of those compared; the first of a list is what the others are held to.
type contender struct {
	name string
	argv []string
}

// compare runs the contenders in turn and reports each one's median, its 95th percentile and the ratio of its median to the first's, and
// to that of what it is to be held to besides.
func compare(b *testing.B, contenders []contender, measure func(contender) (float64, error), unit string) {
	all := make(map[string][]float64)
	for _, c := range contenders { // caches are warm
		if _, err := measure(c); err != nil {
			b.Fatalf("%s: %v", c.name, err)
		}
	}
	for b.Loop() {
		for _, c := range contenders {
			v, err := measure(c)
			if err != nil {
				b.Fatalf("%s: %v", c.name, err)
			}
			all[c.name] = append(all[c.name], v)
		}
	}
	b.ReportMetric(0, "ns/op")
	base := middle(all[contenders[0].name])
	for _, c := range contenders {
		b.ReportMetric(middle(all[c.name]), c.name+"-"+unit)
		b.ReportMetric(all[c.name][len(all[c.name])*95/100], c.name+"-p95-"+unit) // middle has sorted them
		b.ReportMetric(middle(all[c.name])/base, c.name+"/"+contenders[0].name)
	}
	for _, pair := range [][2]string{{"jail", "bwrap"}, {"jail", "bwrap-same"}, {"tunnel", "tunnel-floor"}, {"inspect", "inspect-floor"}} {
		if all[pair[0]] != nil && all[pair[1]] != nil {
			b.ReportMetric(middle(all[pair[0]])/middle(all[pair[1]]), pair[0]+"/"+pair[1])
		}
	}
}

// loadServer answers load.
type loadServer struct{ address, ca, profile string }

const smallSize = 100

func startLoadServer(b testing.TB) loadServer {
	ca := filepath.Join(b.TempDir(), "ca.pem")
	mint, err := authority(ca)
	if err != nil {
		b.Fatal(err)
	}
	leaves := map[string]*tls.Certificate{}
	for _, name := range []string{"tunnel.example", "inspect.example"} {
		if leaves[name], err = mint(&tls.ClientHelloInfo{ServerName: name}); err != nil {
			b.Fatal(err)
		}
	}
	piece := make([]byte, 256<<10)
	mux := http.NewServeMux()
	mux.HandleFunc("/small", func(rw http.ResponseWriter, r *http.Request) { rw.Write(piece[:smallSize]) })
	mux.HandleFunc("/down", func(rw http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		rw.Header().Set("Content-Length", strconv.Itoa(n))
		for ; n > 0; n -= len(piece) {
			rw.Write(piece[:min(n, len(piece))])
		}
	})
	mux.HandleFunc("/events", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		n, _ := strconv.Atoi(r.FormValue("n"))
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for range n {
			<-tick.C
			fmt.Fprintf(rw, "data: %d\n\n", time.Now().UnixNano())
			rw.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/up", func(rw http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(rw, n)
	})
	mux.HandleFunc("/sse", sendEvents)
	mux.HandleFunc("/ws", sendBack)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: mux, TLSConfig: &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		return leaves[h.ServerName], nil
	}}}
	go server.ServeTLS(listener, "", "")
	b.Cleanup(func() { server.Close() })
	s := loadServer{address: listener.Addr().String(), ca: ca}
	s.profile = fmt.Sprintf(`extends = ["default"]
[[net.rule]]
host = "tunnel.example"
connect = "%[1]s"
upstream_ca = "%[2]s"
[[net.rule]]
host = "inspect.example"
connect = "%[1]s"
upstream_ca = "%[2]s"
tls = "inspect"
`, s.address, s.ca)
	return s
}

// benchProject makes a project, with load in it, a home and a profile beside it, and gives the environment that names them; the first
// variable is PWD.
func benchProject(b testing.TB, profile string) []string {
	dir := b.TempDir()
	for _, name := range []string{"project", "home"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "door.toml"), []byte(profile), 0o644); err != nil {
		b.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "project", "load"), self, 0o755); err != nil {
		b.Fatal(err)
	}
	home := filepath.Join(dir, "home")
	return append([]string{"PWD=" + filepath.Join(dir, "project")}, append(os.Environ(), "HOME="+home,
		"XDG_STATE_HOME="+home+"/.local/state", "XDG_CONFIG_HOME="+home+"/.config", "PATH=/usr/local/bin:/usr/bin:/bin")...)
}

// number runs a command that prints one.
func number(env []string, argv []string) (float64, error) {
	var out strings.Builder
	if err := run(env, &out, argv...); err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(out.String()), 64)
}

func run(env []string, stdout io.Writer, argv ...string) error {
	dir := env[0][len("PWD="):]
	path := argv[0]
	if strings.HasPrefix(path, "./") {
		path = filepath.Join(dir, path)
	}
	cmd := exec.Command(path, argv[1:]...)
	var stderr strings.Builder
	cmd.Args[0], cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = argv[0], dir, env, stdout, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%q: %w\n%s", argv, err, stderr.String())
	}
	return nil
}
