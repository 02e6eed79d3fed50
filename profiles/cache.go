package profiles

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// answerAge is how long a cached answer stands. A shim of a version manager does not change when the tool behind it does, so
// files alone cannot tell.
const answerAge = 24 * time.Hour

// kept is an answer in the cache, with all that it depends on.
type kept struct {
	Key    string    `json:"key"`
	Time   time.Time `json:"time"`
	Answer *answer   `json:"answer"`
}

// cached gives the answer of ask, or the one that is kept when the tool, its configuration files and the environment are what
// they were. A cache that cannot be read or written is no error: the question is asked again.
func (a Asker) cached(name string, inputs []string, ask func() (*answer, error)) (*answer, error) {
	if a.CacheDir == "" {
		return ask()
	}
	now := time.Now
	if a.Now != nil {
		now = a.Now
	}
	file, key := filepath.Join(a.CacheDir, name+".json"), a.cacheKey(name, inputs)
	var k kept
	if data, err := os.ReadFile(file); err == nil && json.Unmarshal(data, &k) == nil && k.Key == key && k.Answer != nil {
		if age := now().Sub(k.Time); age >= 0 && age < answerAge {
			return k.Answer, nil
		}
	}
	got, err := ask()
	if err != nil {
		return nil, err
	}
	if data, err := json.Marshal(kept{Key: key, Time: now(), Answer: got}); err == nil {
		_ = writeFile(file, data) // the answer stands without
	}
	return got, nil
}

// cacheKey changes with the size and time of any input, with one that comes or goes, and with the environment and directory.
func (a Asker) cacheKey(name string, inputs []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "1 %q %q %q\n", name, a.Dir, a.environ())
	for _, file := range inputs {
		info, err := os.Stat(file)
		if err != nil {
			fmt.Fprintf(h, "%q absent\n", file)
			continue
		}
		fmt.Fprintf(h, "%q %d %d\n", file, info.Size(), info.ModTime().UnixNano())
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
