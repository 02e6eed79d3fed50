package profiles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// cargo reads the user's config.toml: replaced sources and named registries. `cargo config get` is not stable
// (https://github.com/rust-lang/cargo/issues/9301), and cargo reads the project's .cargo when asked there.
//
// Without a replaced source, cargo uses the index that is compiled into it: the one sparse+https:// URL in the binary. The
// downloads come from a host that only the index's own config.json names ("dl", RFC 2789), so every host beside the index's is
// allowed: *.example.com for index.example.com, which is not example.com itself, where crates are published. A configured index
// gets its own host alone; downloads from another one need --allow. A replaced source cannot be told to the jail by a variable:
// copy the configuration with fs.copy when it holds no token.
func (a Asker) cargo() (question, error) {
	t, err := a.find("cargo")
	if err != nil {
		return question{}, err
	}
	home, rustup := a.home("CARGO_HOME", "~/.cargo"), a.home("RUSTUP_HOME", "~/.rustup")
	configs := []string{filepath.Join(home, "config.toml"), filepath.Join(home, "config")}
	return question{append([]string{t.name, t.file, filepath.Join(rustup, "settings.toml")}, configs...), func(ctx context.Context) (*answer, error) {
		got := &answer{}
		replaced, err := got.cargoConfig(configs)
		if err != nil || replaced {
			return got, err
		}
		file, err := a.realCargo(ctx, t)
		if err != nil {
			return nil, err
		}
		index, err := compiledIndex(file)
		if err != nil {
			return nil, err
		}
		if err := got.allow(index, "the index compiled into cargo"); err != nil {
			return nil, err
		}
		if _, parent, ok := strings.Cut(hostOf(index), "."); ok && strings.Contains(parent, ".") {
			got.Hosts = append(got.Hosts, Item{Value: "*." + parent + ":443", Why: "the index compiled into cargo names its download host only when asked"})
		}
		return got, nil
	}}, nil
}

// cargoConfig allows what the user's configuration names, and says whether it replaces the default source.
func (r *answer) cargoConfig(files []string) (replaced bool, err error) {
	var config struct {
		Source map[string]struct {
			ReplaceWith string `toml:"replace-with"`
			Registry    string `toml:"registry"`
		} `toml:"source"`
		Registries map[string]struct {
			Index string `toml:"index"`
		} `toml:"registries"`
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = toml.Unmarshal(data, &config)
		}
		if err != nil {
			return false, fmt.Errorf("read %s: %w", printable(file), cause(err))
		}
		break // cargo takes config.toml when both are there
	}
	for _, name := range slices.Sorted(maps.Keys(config.Registries)) {
		if index := config.Registries[name].Index; index != "" {
			if err := r.allowIndex(index, "cargo registries."+name); err != nil {
				return false, err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(config.Source)) {
		if config.Source[name].ReplaceWith == "" {
			continue
		}
		replaced = true
		last := name
		for range len(config.Source) { // a chain; cargo refuses a circle
			if config.Source[last].ReplaceWith == "" {
				break
			}
			last = config.Source[last].ReplaceWith
		}
		if index := config.Source[last].Registry; index != "" {
			if err := r.allowIndex(index, "cargo source."+last); err != nil {
				return false, err
			}
		}
	}
	return replaced, nil
}

func (r *answer) allowIndex(index, why string) error {
	return r.allow(strings.TrimPrefix(strings.TrimPrefix(index, "sparse+"), "registry+"), printable(why))
}

// realCargo follows rustup's proxy to the cargo of the default toolchain. Asked in the user's home, a project's
// rust-toolchain.toml has no say.
func (a Asker) realCargo(ctx context.Context, t tool) (string, error) {
	if filepath.Base(t.file) != "rustup" {
		return t.file, nil
	}
	out, err := a.run(ctx, tool{name: t.file, file: t.file}, []string{"RUSTUP_AUTO_INSTALL=0"}, "which", "cargo")
	if err != nil {
		return "", err
	}
	file, err := filepath.EvalSymlinks(strings.TrimSpace(string(out)))
	if err != nil || a.avoided(file) {
		return "", fmt.Errorf("rustup which cargo: %s is no file to go by", printable(strings.TrimSpace(string(out))))
	}
	return file, nil
}

// compiledIndex finds the one index URL in cargo's binary.
func compiledIndex(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	pattern := regexp.MustCompile(`sparse\+(https://[a-z0-9-]+(?:\.[a-z0-9-]+)+/)`)
	found := map[string]bool{}
	const overlap = 512 // longer than any match, so that one across two reads is seen
	buf := make([]byte, 1<<20)
	kept := 0
	for {
		n, err := io.ReadFull(f, buf[kept:])
		window := buf[:kept+n]
		for _, m := range pattern.FindAllSubmatch(window, -1) {
			found[string(m[1])] = true
		}
		if err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				return "", err
			}
			break
		}
		kept = copy(buf, window[len(window)-overlap:]) // memmove: the two may overlap
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%s holds %d index URLs, not one: its default index cannot be told", printable(file), len(found))
	}
	for index := range found {
		return index, nil
	}
	return "", nil
}

func hostOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}
