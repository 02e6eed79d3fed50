//go:build !amd64

package selftest

func machineAttempts() []attempt { return nil }
