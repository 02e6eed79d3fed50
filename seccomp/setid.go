package seccomp

import "golang.org/x/sys/unix"

// tmpfileBit is what open(2) looks at in O_TMPFILE, which is that and O_DIRECTORY: the second differs between architectures.
const tmpfileBit = 0x400000 // __O_TMPFILE (asm-generic/fcntl.h)

// setIDCalls are the calls that give a file its mode. nosuid on the jail's mounts ends where the jail does: on the host, a set-id
// file that the command leaves in the project or in a persistent home would lend its owner's rights, which are root's where the
// project is shown through an idmapped mount, to any user who runs it there.
//
// S_ISGID is refused without S_IXGRP too: an access control list (setxattr(2), which carries it behind a pointer) adds the
// execute bit afterwards and keeps the other. On a directory the bit does no harm, but from here a directory cannot be told from
// a file.
//
// mkdir(2) is not one of them: vfs_mkdir takes no more than the permissions and the sticky bit from its mode. Nor is link(2) or
// rename(2): what they name has its mode already. openat2 and fchmodat2 are in refused.go.
func setIDCalls() []rule {
	const why = "modes, but no set-id bits"
	return []rule{
		{why: why, names: []string{"chmod", "fchmod"}, clauses: allowBut(setID(1))},
		{why: why, names: []string{"fchmodat"}, clauses: allowBut(setID(2))},
		{why: why, names: []string{"creat"}, clauses: allowBut(setID(1))},
		{why: why, names: []string{"open"}, clauses: allowBut(setIDWhenMade(1, 2))},
		{why: why, names: []string{"openat"}, clauses: allowBut(setIDWhenMade(2, 3))},
		{why: why + ", and no devices", names: []string{"mknod"}, clauses: allowBut(append(setID(1), device(1)))},
		{why: why + ", and no devices", names: []string{"mknodat"}, clauses: allowBut(append(setID(2), device(2)))},
	}
}

// allowBut lets through what no refusal fits.
func allowBut(refusals []clause) []clause { return append(refusals, clause{then: allow}) }

// setID refuses a mode, argument mode, with S_ISUID or S_ISGID in it, where the other matches hold too.
func setID(mode int, when ...match) []clause {
	var clauses []clause
	for _, bit := range []uint32{unix.S_ISUID, unix.S_ISGID} {
		clauses = append(clauses, clause{when: append([]match{{mode, bit, bit}}, when...), then: eperm})
	}
	return clauses
}

// setIDWhenMade is setID for open(2), which has a mode only where its flags make a file: else the argument is what the register
// happened to hold.
func setIDWhenMade(flags, mode int) []clause {
	return append(setID(mode, match{flags, unix.O_CREAT, unix.O_CREAT}), setID(mode, match{flags, tmpfileBit, tmpfileBit})...)
}

// device refuses the modes of devices to mknod(2). The kernel lets everybody make the character device 0:0, the whiteout of
// overlayfs; nothing in a jail can mount one. S_IFCHR and S_IFBLK differ in one bit, so one match is both.
func device(mode int) clause {
	return clause{when: []match{{mode, unix.S_IFMT &^ (unix.S_IFCHR ^ unix.S_IFBLK), unix.S_IFCHR & unix.S_IFBLK}}, then: eperm}
}
