package seccomp

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// A call is what the kernel shows a filter: struct seccomp_data (linux/seccomp.h).
type call struct {
	arch   uint32 // AUDIT_ARCH_*
	number uint32
	args   [6]uint64
}

// evaluate runs a classic BPF program over c and gives its SECCOMP_RET_* value. It knows the instructions that libseccomp writes
// and fails on any other; x/net/bpf is of no use, for it loads in network byte order.
func evaluate(program []byte, c call) (uint32, error) {
	var data [64]byte // nr, arch, instruction_pointer, args
	binary.NativeEndian.PutUint32(data[0:], c.number)
	binary.NativeEndian.PutUint32(data[4:], c.arch)
	for i, a := range c.args {
		binary.NativeEndian.PutUint64(data[16+8*i:], a)
	}
	var a uint32
	for pc := 0; pc < len(program)/8; pc++ {
		in := program[pc*8:]
		code, jt, jf, k := binary.NativeEndian.Uint16(in), int(in[2]), int(in[3]), binary.NativeEndian.Uint32(in[4:])
		jump := func(yes bool) {
			if yes {
				pc += jt
			} else {
				pc += jf
			}
		}
		switch code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = binary.NativeEndian.Uint32(data[k:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			a &= k
		case unix.BPF_JMP | unix.BPF_JA:
			pc += int(k)
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(a == k)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump(a > k)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(a >= k)
		case unix.BPF_RET | unix.BPF_K:
			return k, nil
		default:
			return 0, fmt.Errorf("instruction %d: code %#x", pc, code)
		}
	}
	return 0, fmt.Errorf("ran off the end of the program")
}

// decide says what policy wants for a call by reading the table as its comments say: the first clause that fits. It shares
// nothing with the way from the table to the program.
func decide(policy []rule, name string, args [6]uint64) verdict {
	for _, r := range policy {
		for _, n := range r.names {
			if n != name {
				continue
			}
		clauses:
			for _, c := range r.clauses {
				for _, m := range c.when {
					if uint32(args[m.arg])&m.mask != m.value {
						continue clauses
					}
				}
				return c.then
			}
		}
	}
	return enosys
}
