package sandbox

import (
	"fmt"
	"strconv"
	"strings"
)

// account is one line of passwd(5).
type account struct {
	name        string
	uid, gid    int
	home, shell string
}

// maxDatabase bounds what is read of /etc/passwd and /etc/group.
const maxDatabase = 1 << 20

// accounts reads /etc/passwd. A static binary has no nsswitch(5), and a missing file is no error: a scratch container has none.
func accounts(f Files) []account {
	data, _ := f.ReadFile("/etc/passwd", maxDatabase)
	var all []account
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) < 7 {
			continue
		}
		uid, err1 := strconv.Atoi(fields[2])
		gid, err2 := strconv.Atoi(fields[3])
		if err1 == nil && err2 == nil {
			all = append(all, account{fields[0], uid, gid, fields[5], fields[6]})
		}
	}
	return all
}

func userByID(all []account, uid int) (account, bool) {
	for _, a := range all {
		if a.uid == uid {
			return a, true
		}
	}
	return account{}, false
}

// groupName looks a gid up in /etc/group.
func groupName(f Files, gid int) (string, bool) {
	data, _ := f.ReadFile("/etc/group", maxDatabase)
	for line := range strings.Lines(string(data)) {
		if fields := strings.Split(line, ":"); len(fields) >= 3 && fields[2] == strconv.Itoa(gid) && validUser(fields[0]) {
			return fields[0], true
		}
	}
	return "", false
}

// validUser says whether a name can stand in passwd(5); useradd(8)'s rule, with capitals and dots.
func validUser(name string) bool {
	const letters = "_ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	name = strings.TrimSuffix(name, "$") // Samba's machines
	return name != "" && len(name) <= 32 && strings.IndexByte(letters, name[0]) >= 0 && strings.Trim(name, letters+"0123456789.-") == ""
}

// jailUID is what the command sees when the host uid stays 0: never 0, because agents refuse to run as root and because 0 would
// promise rights that nobody has in a jail.
const jailUID = 1000

// The ids that no convention gives to anybody (systemd's UIDS-GIDS: 65520…65533 unused), tried in this order.
const firstFreeID, lastFreeID = 65520, 65533

// identify decides who the command is. An ordinary user stays what he is, on both sides: git's index stores the owner, and a jail
// that shows another one makes the first `git status` read every file again. Root's command gets an id that owns the project, and
// the last resort, host uid 0 behind the same walls, is the one that the plan explains most loudly.
func identify(h *Host, f Files, project place) Identity {
	id := Identity{UID: h.UID, GID: h.GID, HostUID: h.UID, HostGID: h.GID, User: h.User, Home: h.Home, Why: "the caller"}
	if h.UID != 0 {
		return id
	}
	users := accounts(f)
	uid, gid, _ := owner(project.info)
	sudoUID, sudoGID, sudo := sudoer(h)
	switch {
	case sudo && uid == sudoUID:
		id.set(sudoUID, sudoGID, "SUDO_UID, who owns the project")
	case uid != 0 && mapped(f, uid): // an owner that this user namespace does not map is nobody (stat shows 65534)
		if a, ok := userByID(users, uid); ok {
			gid = a.gid
		}
		if gid == 0 {
			gid = uid
		}
		id.set(uid, gid, "started by uid 0: the project's owner instead")
	case sudo && mapped(f, sudoUID):
		id.set(sudoUID, sudoGID, "SUDO_UID; the project is root's and is shown through an idmapped mount")
		id.IDMap = true
	default:
		free, ok := freeID(f, users)
		if !ok {
			id.UID, id.GID = jailUID, jailUID
			id.Why = "started by uid 0 where no other uid can be had: host uid 0 behind the same walls, shown as another"
			break
		}
		id.set(free, free, "started by uid 0 in a project of root's: a free uid, and the project through an idmapped mount")
		id.IDMap = true
	}
	id.User = "agent"
	if a, ok := userByID(users, id.UID); ok && validUser(a.name) {
		id.User = a.name
	}
	return id
}

func (id *Identity) set(uid, gid int, why string) {
	id.UID, id.GID, id.HostUID, id.HostGID, id.Why = uid, gid, uid, gid, why
}

// counted says whether RLIMIT_NPROC will bind the command: not where its uid on the host is 0, or becomes it for want of idmapped mounts.
func (id Identity) counted() bool { return id.HostUID != 0 && !id.IDMap }

// sudoer reads who called sudo(8).
func sudoer(h *Host) (uid, gid int, ok bool) {
	uid, err1 := strconv.Atoi(h.getenv("SUDO_UID"))
	gid, err2 := strconv.Atoi(h.getenv("SUDO_GID"))
	const invalid = 1<<32 - 1 // (uid_t)-1
	return uid, gid, err1 == nil && err2 == nil && uid > 0 && gid > 0 && uid < invalid && gid < invalid
}

// freeID gives an id that no account has and that this user namespace maps: in a container that maps one id there is none.
func freeID(f Files, users []account) (int, bool) {
	for id := firstFreeID; id <= lastFreeID; id++ {
		if _, taken := userByID(users, id); !taken && mapped(f, id) {
			return id, true
		}
	}
	return 0, false
}

// mapped says whether an id exists, as uid and as gid, in the launcher's user namespace (user_namespaces(7)).
func mapped(f Files, id int) bool {
	for _, name := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		data, err := f.ReadFile(name, 1<<16)
		if err != nil || !mapHas(string(data), id) {
			return false
		}
	}
	return true
}

func mapHas(idMap string, id int) bool {
	for line := range strings.Lines(idMap) {
		var inside, outside, count int
		if n, _ := fmt.Sscan(line, &inside, &outside, &count); n == 3 && id >= inside && id-inside < count {
			return true
		}
	}
	return false
}
