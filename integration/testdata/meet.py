# Two jails that attack one another.
#
#   meet.py host UID UID    outside: starts both jails, each as that user (0: as this one), tells each of the other, and judges
#   meet.py inside MARK     a jail's command: has something of each kind, is attacked, attacks
#   meet.py attack FACTS    one attack, on what the file tells: prints the acts that succeed
#
# An act succeeds when it gets what is the victim's and nobody else's. Each is made on the other jail (no act may succeed), by the victim on itself
# in its own jail, and outside by the victim's user: each act must succeed in one of the last two, or it shows nothing.
import ctypes, fcntl, json, os, platform, resource, shutil, signal, socket, subprocess, sys, threading

libc = ctypes.CDLL(None, use_errno=True)
PERF, KCMP, ADD_KEY, KEYCTL = {"x86_64": (298, 312, 248, 250), "aarch64": (241, 272, 217, 219)}[platform.machine()]
NAMES = ("a", "b")


def done(answer):
    if answer < 0:
        raise OSError(ctypes.get_errno(), "")
    return answer


def has(data, token):
    if token.encode() not in data:
        raise OSError("not the victim's")


def contains(name, token):
    with open(name, "rb") as f:
        has(f.read(1 << 20), token)


def conversation(family, address, token):
    with socket.socket(family) as s:
        s.settimeout(10)
        s.connect(address)
        has(s.recv(100), token)


def attack(facts):
    token, mark = facts["token"], facts["mark"]
    acts = {}

    def act(name):
        def add(f):
            acts[name] = f
        return add

    def on_process(name, f):
        """f succeeds on one of the victim's processes, and the number means that process here."""
        def all_pids():
            for pid in facts["pids"]:
                try:
                    f(pid)
                    contains(f"/proc/{pid}/cmdline", mark)
                    return
                except OSError:
                    pass
            raise OSError("no process")
        acts[name] = all_pids

    def own_file(pid):
        fd = os.open(".", os.O_RDONLY)
        try:
            fcntl.fcntl(fd, fcntl.F_SETOWN, pid)
        finally:
            os.close(fd)

    def pidfd(pid):
        fd = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(fd, 0)
        finally:
            os.close(fd)

    def read_call(pid):
        buf = ctypes.create_string_buffer(len(token))
        local = (ctypes.c_void_p * 2)(ctypes.addressof(buf), len(token))
        remote = (ctypes.c_void_p * 2)(facts["address"], len(token))
        done(libc.process_vm_readv(pid, local, ctypes.c_ulong(1), remote, ctypes.c_ulong(1), ctypes.c_ulong(0)))
        has(buf.raw, token)

    def read_file(pid):
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as f:
            f.seek(facts["address"])
            has(f.read(len(token)), token)

    def trace(pid):
        SEIZE, DETACH = 0x4206, 17
        done(libc.ptrace(SEIZE, pid, None, None))
        libc.ptrace(DETACH, pid, None, None)  # needs a stop; the attack's end does it otherwise

    on_process("process: seen", lambda pid: os.stat(f"/proc/{pid}"))
    on_process("process: kill", lambda pid: os.kill(pid, 0))
    on_process("process: tgkill", lambda pid: done(libc.tgkill(pid, pid, 0)))
    on_process("process: sigqueue", lambda pid: done(libc.sigqueue(pid, 0, None)))
    on_process("process: group", lambda pid: os.getpgid(pid))
    on_process("process: session", lambda pid: os.getsid(pid))
    on_process("process: pidfd", pidfd)
    on_process("process: memory by call", read_call)
    on_process("process: memory by file", read_file)
    on_process("process: ptrace", trace)
    on_process("process: environment", lambda pid: contains(f"/proc/{pid}/environ", "MARK=" + mark))
    on_process("process: directory", lambda pid: contains(f"/proc/{pid}/cwd/private", token))
    on_process("process: root", lambda pid: contains(f"/proc/{pid}/root/tmp/{mark}", token))
    on_process("process: descriptor", lambda pid: contains(f"/proc/{pid}/fd/{facts['fd']}", token))
    on_process("process: namespace", lambda pid: os.close(os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)))
    on_process("process: priority", lambda pid: os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid)))
    on_process("process: processors", lambda pid: os.sched_setaffinity(pid, os.sched_getaffinity(pid)))
    on_process("process: limits", lambda pid: resource.prlimit(pid, resource.RLIMIT_CORE))
    on_process("process: oom score", lambda pid: os.close(os.open(f"/proc/{pid}/oom_score_adj", os.O_WRONLY)))
    on_process("process: owner of a descriptor's signals", own_file)
    on_process("process: comparison", lambda pid: done(libc.syscall(KCMP, pid, pid, 1, 0, 0)))

    @act("process: kill, by any number")
    def _():
        for pid in range(1, 1 << 15):
            try:
                os.kill(pid, 0)
                return contains(f"/proc/{pid}/cmdline", mark)
            except OSError:
                pass
        raise OSError("nobody")

    @act("kernel: performance counters")
    def _():
        ctypes.set_errno(0)
        libc.syscall(PERF, 0, 0, -1, -1, -1)  # flags that there are not
        if ctypes.get_errno() != 22:
            raise OSError(ctypes.get_errno(), "")

    @act("kernel: keyring of the user")
    def _():
        SEARCH, USER = 10, -4
        done(libc.syscall(KEYCTL, SEARCH, USER, b"user", mark.encode(), 0))

    @act("kernel: fanotify")
    def _():
        os.close(done(libc.fanotify_init(0x200, 0)))  # FAN_REPORT_FID

    @act("ipc: shared memory")
    def _():
        libc.shmat.restype = ctypes.c_void_p
        at = libc.shmat(done(libc.shmget(facts["key"], 0, 0)), None, 0)
        if at == ctypes.c_void_p(-1).value:
            raise OSError("shmat")
        has(ctypes.string_at(at, len(token)), token)

    @act("ipc: semaphores")
    def _():
        done(libc.semget(facts["key"], 0, 0))

    @act("ipc: messages")
    def _():
        done(libc.msgget(facts["key"], 0))

    @act("ipc: POSIX queue")
    def _():
        os.close(done(libc.mq_open(b"/" + mark.encode(), os.O_RDWR)))

    acts["files: temporary"] = lambda: contains("/tmp/" + mark, token)
    acts["files: shared memory"] = lambda: contains("/dev/shm/" + mark, token)
    acts["files: home"] = lambda: contains(os.path.join(facts["home"], mark), token)
    acts["files: project"] = lambda: contains(os.path.join(facts["project"], "private"), token)
    acts["files: record"] = lambda: contains(os.path.join(facts["record"], "audit.jsonl"), mark)
    acts["files: record appended to"] = lambda: os.close(os.open(os.path.join(facts["record"], "audit.jsonl"), os.O_WRONLY | os.O_APPEND))
    acts["files: records listed"] = lambda: os.listdir(os.path.dirname(facts["record"]))

    @act("files: link among the records")
    def _():
        os.symlink("/etc", os.path.join(facts["record"], "link"))
        os.unlink(os.path.join(facts["record"], "link"))

    @act("files: terminal")
    def _():
        fd = os.open(facts["tty"], os.O_RDWR | os.O_NOCTTY)
        try:
            if os.fstat(fd).st_dev != facts["tty_dev"]:
                raise OSError("another instance")
        finally:
            os.close(fd)

    acts["socket: abstract"] = lambda: conversation(socket.AF_UNIX, "\0" + mark, token)
    acts["socket: by path"] = lambda: conversation(socket.AF_UNIX, "/tmp/" + mark + ".s", token)

    @act("socket: control")
    def _():
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir(facts["record"])  # sun_path is short
            with socket.socket(socket.AF_UNIX) as s:
                s.connect("control")
        finally:
            os.fchdir(here)

    @act("socket: port")
    def _():
        if not facts["port"]:
            raise OSError("not from here")
        for address in ("198.18.0.2", "127.0.0.1", "198.18.0.1", "198.18.0.3", "198.18.0.4", "198.18.0.5"):
            try:
                return conversation(socket.AF_INET, (address, facts["port"]), token)
            except OSError:
                pass
        raise OSError("nowhere")

    succeeded = []
    for name, f in acts.items():
        try:
            f()
            succeeded.append(name)
        except OSError:
            pass
    json.dump({"all": list(acts), "succeeded": succeeded}, sys.stdout)


def inside(mark):
    token = "token-" + os.urandom(8).hex()
    heard = []
    for s in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGIO, signal.SIGURG, signal.SIGTERM):
        signal.signal(s, lambda number, _: heard.append(number))
    libc.prctl(0x59616d61, ctypes.c_ulong(-1 & (1 << 64) - 1), 0, 0, 0)  # PR_SET_PTRACER: Yama, where it is, is not what we ask about
    memory = ctypes.create_string_buffer(token.encode())
    key = int.from_bytes(os.urandom(3), "big") | 1 << 28
    segment = done(libc.shmget(key, 4096, 0o1600))
    libc.shmat.restype = ctypes.c_void_p
    shared = libc.shmat(segment, None, 0)
    ctypes.memmove(shared, token.encode(), len(token))
    done(libc.semget(key, 1, 0o1600))
    done(libc.msgget(key, 0o1600))
    done(libc.mq_open(b"/" + mark.encode(), os.O_CREAT | os.O_RDWR, 0o600, None))
    files = ["/tmp/" + mark, "/dev/shm/" + mark, os.path.join(os.environ["HOME"], mark), "private"]
    for name in files:
        with open(name, "w") as f:
            f.write(token)
    open_file = open("/tmp/" + mark, "rb")
    master, slave = os.openpty()
    servers = [socket.create_server(("0.0.0.0", 0)), socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)]
    servers[1].bind("\0" + mark)
    servers[2].bind("/tmp/" + mark + ".s")

    def serve(s):
        s.listen()
        while True:
            conn, _ = s.accept()
            conn.sendall(token.encode())
            conn.close()

    for s in servers:
        threading.Thread(target=serve, args=(s,), daemon=True).start()
    tunnel = socket.create_connection(("echo.example", 7), 10)
    facts = {"token": token, "mark": mark, "pids": [os.getpid()], "address": ctypes.addressof(memory), "key": key, "fd": open_file.fileno(),
             "home": os.environ["HOME"], "project": os.getcwd(), "record": "/nowhere", "tty": os.ttyname(slave), "tty_dev": os.fstat(slave).st_dev,
             "port": servers[0].getsockname()[1]}
    put("self.json", facts)
    own = run_attack("self.json")
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    print(json.dumps({"facts": facts, "own": own}), flush=True)
    sys.stdin.readline()  # other.json is there
    print(json.dumps(run_attack("other.json")), flush=True)
    sys.stdin.readline()  # both are done
    tunnel.sendall(b"still here")
    tunnel.settimeout(20)
    harm = [name for name in files if open(name).read() != token]
    if heard or ctypes.string_at(shared, len(token)) != token.encode() or memory.value != token.encode() or tunnel.recv(20) != b"still here" or \
            os.getpriority(os.PRIO_PROCESS, 0) != priority:
        harm.append("signals, memory, tunnel or priority")
    print(json.dumps(harm), flush=True)


def put(name, value):
    with open(name, "w") as f:
        json.dump(value, f)


def run_attack(facts, **more):
    return json.loads(subprocess.run([sys.executable, "meet.py", "attack", facts], check=True, stdout=subprocess.PIPE, **more).stdout)


def status(pid, field):
    with open(f"/proc/{pid}/status") as f:
        return int(next(line for line in f if line.startswith(field + ":")).split()[1])


def command_of(launcher, mark):
    """The jail's command as the host numbers it: the youngest with that command line whose ancestor is the launcher."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == launcher:
            continue
        try:
            contains(f"/proc/{entry}/cmdline", mark)
            pid = int(entry)
            while pid > 1 and pid != launcher:
                pid = status(pid, "PPid")
            if pid == launcher:
                return int(entry)
        except (OSError, StopIteration):
            pass
    raise SystemExit("the command is not to be found on the host")


class Side:
    def __init__(self, name, uid):
        work = os.environ["WORK"]
        self.name, self.mark = name, f"meet-{name}-{os.urandom(6).hex()}"
        self.project, self.home = os.path.join(work, "meet", name), os.path.join(work, "meet-home", name if uid else "one")
        for directory in (self.project, self.home):
            os.makedirs(directory, exist_ok=True)
        for source in (sys.argv[0], os.path.join(work, "meet.toml")):
            shutil.copy(source, os.path.join(self.project, os.path.basename(source)))
        self.env = dict(os.environ, HOME=self.home, XDG_STATE_HOME=self.home + "/state", XDG_CONFIG_HOME=self.home + "/config", MARK=self.mark,
                        KEY="sk-ant-api03-" + os.urandom(24).hex())
        if uid:
            for top in (self.project, self.home):
                subprocess.run(["chown", "-R", f"{uid}:{uid}", top], check=True)
        self.uid = {"user": uid, "group": uid, "extra_groups": []} if uid else {}
        self.jail = subprocess.Popen(["agentjail", "--env", "MARK", "-p", "./meet.toml", "--", "python3", "meet.py", "inside", self.mark],
                                     cwd=self.project, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **self.uid)
        said = self.said()
        self.facts, self.own = said["facts"], said["own"]
        # As the host sees them: all but the numbers of processes is the same.
        self.facts["pids"] += [command_of(self.jail.pid, self.mark), self.jail.pid]
        sessions = self.home + "/state/agentjail/sessions"
        for session in os.listdir(sessions):
            with open(os.path.join(sessions, session, "audit.jsonl")) as f:
                if self.mark in f.read():
                    self.facts["record"] = os.path.join(sessions, session)

    def said(self):
        return json.loads(self.jail.stdout.readline())

    def say(self):
        self.jail.stdin.write("\n")
        self.jail.stdin.flush()

    def tell(self, name, facts):
        path = os.path.join(self.project, name)
        put(path, facts)
        os.chmod(path, 0o644)

    def outside(self):
        """The same attack by the victim's user, outside of any jail; a key of that user's keyring is there for it."""
        self.tell("outside.json", dict(self.facts, port=0))  # on the host a jail's addresses are somebody else's
        return run_attack("outside.json", cwd=self.project, env=self.env, **self.uid)

    def key(self):
        subprocess.run([sys.executable, "-c", "import ctypes, sys\nsys.exit(ctypes.CDLL(None).syscall(*map(int, sys.argv[1:2]), b'user', "
                        "sys.argv[2].encode(), b'x', 1, -4) < 0)", str(ADD_KEY), self.mark], check=True, **self.uid)


def host(uids):
    sides = [Side(name, int(uid)) for name, uid in zip(NAMES, uids)]
    for s in sides:
        s.key()
    for s, other in zip(sides, reversed(sides)):
        s.tell("other.json", other.facts)
        control = set(s.own["succeeded"]) | set(s.outside()["succeeded"])
        print(f"controls on {s.name}:", "all succeed" if control == set(s.own["all"]) else sorted(set(s.own["all"]) - control))
    for s, other in zip(sides, reversed(sides)):
        s.say()
        result = s.said()
        print(f"{s.name} attacks {other.name}: {len(result['all'])} acts,", result["succeeded"] or "none succeeds")
    for s in sides:
        s.say()
        print(f"{s.name}:", s.said() or "unharmed", s.jail.wait())


if sys.argv[1] == "host":
    host(sys.argv[2:])
elif sys.argv[1] == "inside":
    inside(sys.argv[2])
else:
    with open(sys.argv[2]) as facts:
        attack(json.load(facts))
