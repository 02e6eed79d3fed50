package profiles

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// LimitNames are the limits in the order in which they are shown.
func LimitNames() []string { return []string{"memory", "pids", "cpus", "files", "wall"} }

// item gives the limit of that name, nil when there is none.
func (l *Limits) item(name string) *Item {
	switch name {
	case "memory":
		return &l.Memory
	case "pids":
		return &l.Pids
	case "cpus":
		return &l.CPUs
	case "files":
		return &l.Files
	case "wall":
		return &l.Wall
	}
	return nil
}

// Get gives the limit of that name; its Value is "" when nobody asked for it or no such limit exists.
func (l Limits) Get(name string) Item {
	if i := l.item(name); i != nil {
		return *i
	}
	return Item{}
}

// Set sets one limit from its name and its text, as --limit KEY=VALUE does.
func (l *Limits) Set(name, value, why string) error {
	if _, err := limitValue(name, value); err != nil {
		return err
	}
	*l.item(name) = Item{Value: value, Why: why}
	return nil
}

// limitValue gives a limit as a number, so that two of the same name can be compared.
func limitValue(name, value string) (float64, error) {
	switch name {
	case "memory":
		n, err := ParseBytes(value)
		return float64(n), err
	case "pids", "files":
		n, err := ParseCount(value)
		return float64(n), err
	case "cpus":
		return ParseCPUs(value)
	case "wall":
		d, err := ParseDuration(value)
		return float64(d), err
	}
	return 0, fmt.Errorf("no such limit %q: the limits are %s", name, strings.Join(LimitNames(), ", "))
}

// ParseBytes reads a size in bytes: "8GiB", "1.5MiB", "500MB", "4096". KiB, MiB, GiB and TiB are powers of 1024 (IEC 80000-13);
// KB, MB, GB and TB are powers of 1000. A lone "G" is refused: tools disagree about which of the two it is.
func ParseBytes(s string) (int64, error) {
	digits := strings.TrimRight(s, "BKMGTi")
	unit, ok := map[string]float64{
		"": 1, "B": 1,
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
		"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	}[s[len(digits):]]
	if !ok && decimal(digits) && strings.Contains("KMGT", s[len(digits):]) {
		return 0, fmt.Errorf("%q can mean two sizes: write %siB (powers of 1024) or %sB (of 1000)", s, s, s)
	}
	if !ok || !decimal(digits) {
		return 0, fmt.Errorf("%q is not a size: write it like 512MiB or 8GiB", s)
	}
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil && unit == 1 {
		return n, positive(n)
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil || f*unit >= math.MaxInt64 {
		return 0, fmt.Errorf("%q is more than a size can be", s)
	}
	n := int64(f * unit)
	return n, positive(n)
}

// ParseCount reads a number of things, at least 1.
func ParseCount(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || strings.HasPrefix(s, "+") {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return n, positive(n)
}

// ParseCPUs reads a number of processors, which may be a fraction: "0.5", "2".
func ParseCPUs(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !decimal(s) {
		return 0, fmt.Errorf("%q is not a number of processors: write it like 2 or 0.5", s)
	}
	// The kernel's cpu.max has a period of 100 ms and a quota of at least 1 ms (cgroup-v2.rst).
	if f < 0.01 || f > 1e6 {
		return 0, fmt.Errorf("%s processors: must be at least 0.01 and at most 1000000", s)
	}
	return f, nil
}

// ParseDuration reads a wall time: "90s", "30m", "8h", "1h30m".
func ParseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a time: write it like 90s, 30m or 8h; a day is 24h", s)
	}
	return d, positive(int64(d))
}

func positive(n int64) error {
	if n <= 0 {
		return errors.New("must be more than 0")
	}
	return nil
}

// decimal says that s is digits with at most one point between them: no sign, exponent, hexadecimal form, "inf" or "nan".
func decimal(s string) bool {
	whole, frac, point := strings.Cut(s, ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	return digits(whole) && (!point || digits(frac))
}
