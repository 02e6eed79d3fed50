//go:build soak

package integration

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// soakTime is how long all soak tests of this kind may take together: SOAK, as in time.ParseDuration.
func soakTime(t *testing.T) time.Duration {
	word := os.Getenv("SOAK")
	if word == "" {
		word = "10m"
	}
	d, err := time.ParseDuration(word)
	if err != nil {
		t.Fatalf("SOAK: %v", err)
	}
	return d
}

// TestSoakDoor has a jail do in half of SOAK what an agent does in an hour and more, and holds what launcher and gateway have in the last
// quarter of that time against what they had in the second.
func TestSoakDoor(t *testing.T) {
	const samples = 120
	length := soakTime(t) / 2
	j := startCrowd(t, benchProject(t, mixServer(t)))
	j.ready()
	const acts = 360
	j.do("mix %d", acts)
	over := time.After(length)
	done, stop := make(chan error, 1), make(chan struct{})
	n := 0
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			if err := j.try("mix %d", acts); err != nil {
				done <- err
				return
			}
			n += acts
		}
	}()
	var memory, descriptors, threads []float64
	tick := time.NewTicker(length / samples)
	defer tick.Stop()
	for running := true; running; {
		select {
		case <-tick.C:
			u := j.usage()
			memory, descriptors, threads = append(memory, float64(u.memory)), append(descriptors, float64(u.descriptors)), append(threads, float64(u.threads))
		case err := <-done:
			t.Fatalf("after %d acts: %v", n, err)
		case <-over:
			running = false
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d acts in %v", n, length)
	if hour := int(3600 * length / (5 * time.Minute)); n < hour { // in five minutes those of an hour, at one a second
		t.Errorf("%d acts in %v, want at least %d", n, length, hour)
	}
	stays(t, "KiB", memory, 0.1, 2<<10)
	stays(t, "descriptors", descriptors, 0, 8)
	stays(t, "threads", threads, 0, 2)
	j.end()
}

// TestSoakNeighbour is TestHostileNeighbour with all that stress-ng has in some classes, a dozen at a time, for a quarter of SOAK.
func TestSoakNeighbour(t *testing.T) {
	const dozen = 12
	// These take all memory that there is, and only a control group bounds that: not every machine lets an ordinary user make one.
	hogs := []string{"brk", "bigheap", "oom-pipe", "stack"}
	var names []string
	for _, class := range []string{"filesystem", "network", "pipe", "scheduler", "interrupt"} {
		list, err := exec.Command("stress-ng", "--class", class+"?").Output()
		if err != nil {
			t.Fatal(err)
		}
		_, stressors, _ := strings.Cut(string(list), ":")
		for _, name := range strings.Fields(stressors) {
			if !slices.Contains(names, name) && !slices.Contains(hogs, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) < 100 {
		t.Fatalf("%d stressors: %q", len(names), names)
	}
	groups := slices.Collect(slices.Chunk(names, dozen))
	seconds := max(1, int(soakTime(t).Seconds())/4/len(groups))
	var script []string
	for _, group := range groups {
		script = append(script, stress(group, seconds))
	}
	t.Logf("%d stressors, %d s each: %q", len(names), seconds, names)
	beside(t, strings.Join(script, "; "))
}

// stays holds the median of the last quarter against that of the second; more is a share of that, and a little on top.
func stays(t *testing.T, what string, all []float64, share, little float64) {
	t.Helper()
	n := len(all)
	if n < 16 {
		t.Fatalf("%d samples: SOAK is too short", n)
	}
	second, last := middle(append([]float64{}, all[n/4:n/2]...)), middle(append([]float64{}, all[n-n/4:]...))
	t.Logf("%s: %.0f in the second quarter, %.0f in the last", what, second, last)
	if last > second*(1+share)+little {
		t.Errorf("%s: %.0f in the second quarter, %.0f in the last: %.0f", what, second, last, all)
	}
}
