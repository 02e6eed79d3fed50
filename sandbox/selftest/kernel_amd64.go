package selftest

import "golang.org/x/sys/unix"

// int80 makes a system call by the 32-bit interface of i386 (kernel_amd64.s).
func int80(number int32) int32

// machineAttempts are about what amd64 alone has.
func machineAttempts() []attempt {
	return []attempt{
		{name: "other-numbers", why: "system calls under the numbers of another architecture", do: func(*target) error {
			if n := int80(20); n < 0 { // i386's getpid
				return unix.Errno(-n)
			}
			return nil
		}},
		{name: "other-numbers-x32", why: "system calls under the numbers of another interface", optional: true, do: func(*target) error {
			return call(1<<30 | unix.SYS_GETPID) // __X32_SYSCALL_BIT
		}},
		{name: "segments", why: "16-bit segments (CVE-2017-17053)", do: func(*target) error { return reached(call(unix.SYS_MODIFY_LDT, 0, 0, 0)) }},
	}
}
