package profiles

import (
	"math"
	"testing"
	"time"
)

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{
		"1": 1, "4096": 4096, "12B": 12, "1KiB": 1024, "512MiB": 512 << 20, "8GiB": 8 << 30, "2TiB": 2 << 40, "1.5GiB": 3 << 29,
		"1KB": 1000, "500MB": 5e8, "8GB": 8e9, "1TB": 1e12, "9223372036854775807": math.MaxInt64,
	} {
		if got, err := ParseBytes(s); err != nil || got != want {
			t.Errorf("%s: %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "B", "0", "0.0001B", "-1", "+1", "8G", "8 GiB", "8gib", "8GiBB", "1e9", "0x10", "1_000", ".5GiB", "1.GiB", "1.2.3MiB",
		"inf", "NaN", "9223372036854775808", "9999999TiB", "8GiB\n", "８GiB"} {
		if got, err := ParseBytes(s); err == nil {
			t.Errorf("%q: taken as %d", s, got)
		}
	}
}

func TestParseCountCPUsDuration(t *testing.T) {
	for _, c := range []struct {
		name string
		good map[string]float64
		bad  []string
	}{
		{"pids", map[string]float64{"1": 1, "4096": 4096}, []string{"", "0", "-1", "+1", "1.5", "1k", "99999999999999999999"}},
		{"files", map[string]float64{"65536": 65536}, []string{"0"}},
		{"cpus", map[string]float64{"2": 2, "0.5": .5, "2.0": 2}, []string{"", "0", "-1", "inf", "nan", "1e3", "0x1p4", "0.001", "1000001"}},
		{"wall", map[string]float64{"90s": float64(90 * time.Second), "1h30m": float64(90 * time.Minute)}, []string{"", "8", "0s", "-1h", "1d"}},
		{"disk", nil, []string{"1"}},
	} {
		for s, want := range c.good {
			var l Limits
			if err := l.Set(c.name, s, "--limit"); err != nil || l.Get(c.name) != (Item{s, "--limit"}) {
				t.Errorf("%s=%s: %v, %v", c.name, s, l, err)
			}
			if got, err := limitValue(c.name, s); err != nil || got != want {
				t.Errorf("%s=%s: %v, %v, want %v", c.name, s, got, err, want)
			}
		}
		for _, s := range c.bad {
			var l Limits
			if err := l.Set(c.name, s, "--limit"); err == nil || l != (Limits{}) {
				t.Errorf("%s=%q: taken: %v", c.name, s, l)
			}
		}
	}
	if len(LimitNames()) != 5 {
		t.Error(LimitNames())
	}
}
