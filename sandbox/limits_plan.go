package sandbox

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/agentjail/agentjail/profiles"
)

// Limits that hold where nobody asked for others: they stop accidents (a fork bomb, a leak), and no honest build meets them.
const (
	defaultPids  = 4096
	defaultFiles = 65536
	// leastMemory holds the gateway, init and a small command. Bytes.
	leastMemory = 32 << 20
	// defaultMemoryPart of the machine's memory leaves the host responsive.
	defaultMemoryPart = 0.75
	// unknownMemory is assumed where /proc/meminfo cannot be read.
	unknownMemory = 4 << 30
)

// planLimits parses the wished limits and fills in the defaults. memory is the machine's, in bytes, 0 where unknown.
func planLimits(l profiles.Limits, memory int64) ([]Limit, error) {
	var out []Limit
	for _, l := range []struct {
		item  profiles.Item
		limit Limit // the default; none when it bounds nothing
		parse func(text string, into *Limit) error
	}{
		{l.Memory, Limit{Name: "memory", Bytes: int64(float64(memory) * defaultMemoryPart)}, parseBytes},
		{l.Pids, Limit{Name: "pids", Count: defaultPids}, parseCount},
		{l.CPUs, Limit{Name: "cpus"}, parseCPUs},
		{l.Files, Limit{Name: "files", Count: defaultFiles}, parseCount},
		{l.Wall, Limit{Name: "wall"}, parseDuration},
	} {
		limit := l.limit
		limit.Why = "default"
		if l.item.Value != "" {
			limit.Explicit, limit.Why = !strings.HasPrefix(l.item.Why, "built in"), l.item.Why
			if err := l.parse(l.item.Value, &limit); err != nil {
				return nil, planError("--limit KEY=VALUE, for example memory=8GiB", "%s: limit %s: %w", l.item.Why, limit.Name, err)
			}
		}
		if limit.Bytes != 0 || limit.Count != 0 || limit.CPUs != 0 || limit.Duration != 0 {
			out = append(out, limit)
		}
	}
	return out, nil
}

// CheckLimits marks the limits that this machine would not hold, for the person who reads the plan. It asks systemd, and changes nothing;
// a run finds out for itself.
func (p *Plan) CheckLimits(ctx context.Context, h *Host) error {
	f, m, err := gatherFacts(ctx, h)
	if err != nil {
		return &Error{Step: StepCgroup, Err: err}
	}
	if m != nil {
		m.Close()
	}
	p.markLimits(choose(controllersOf(p.Limits), f), f, h)
	return nil
}

func (p *Plan) markLimits(chosen choice, f facts, h *Host) {
	c := &cgroup{}
	degraded, err := c.settle(p.Limits, chosen, f, h, p.Identity, p.allows("limits"))
	if e, ok := err.(*Error); ok {
		p.Notes = append(p.Notes, "a run ends with: "+e.Error()+"; "+e.Hint)
		degraded, _ = c.settle(p.Limits, chosen, f, h, p.Identity, true)
	}
	for i := range p.Limits {
		l := &p.Limits[i]
		l.Unenforced = slices.Contains(degraded, "limits: "+l.Name) || slices.Contains(c.unheld, l.Name)
	}
}

func parseBytes(text string, into *Limit) (err error) {
	into.Bytes, err = profiles.ParseBytes(text)
	if err == nil && into.Bytes < leastMemory {
		return fmt.Errorf("%s is less than the %d MiB that a jail needs before its command starts", text, leastMemory>>20)
	}
	return err
}

func parseCount(text string, into *Limit) (err error) {
	into.Count, err = profiles.ParseCount(text)
	return err
}

func parseCPUs(text string, into *Limit) (err error) {
	into.CPUs, err = profiles.ParseCPUs(text)
	return err
}

func parseDuration(text string, into *Limit) (err error) {
	into.Duration, err = profiles.ParseDuration(text)
	return err
}

func (l Limit) text() string {
	if l.Unenforced {
		return l.bound() + ", not enforceable here"
	}
	return l.bound()
}

func (l Limit) bound() string {
	switch {
	case l.Bytes != 0:
		return fmt.Sprintf("%d bytes", l.Bytes)
	case l.CPUs != 0:
		return strconv.FormatFloat(l.CPUs, 'g', -1, 64)
	case l.Duration != 0:
		return l.Duration.String()
	}
	return strconv.FormatInt(l.Count, 10)
}

// machineMemory reads MemTotal of proc(5), in bytes; 0 where unknown.
func machineMemory(f Files) int64 {
	data, _ := f.ReadFile("/proc/meminfo", 4096)
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10
		}
	}
	return 0
}
