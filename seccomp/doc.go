// Package seccomp answers one question: which system calls?
package seccomp
