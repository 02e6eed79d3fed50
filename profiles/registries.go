package profiles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// npm asks `npm config list`: the registry, and those of scopes (@scope:registry). --global makes npm leave the project's .npmrc
// unread wherever it runs; the user's and the machine's are read all the same. A mirror in an npm_config_* variable is not seen
// (see passed): `npm config set registry URL` is.
func (a Asker) npm() (question, error) {
	t, err := a.find("npm")
	if err != nil {
		return question{}, err
	}
	root := filepath.Dir(filepath.Dir(t.name))
	inputs := []string{t.name, t.file, a.path("~/.npmrc"), filepath.Join(root, "etc/npmrc"), filepath.Join(filepath.Dir(filepath.Dir(t.file)), "npmrc")}
	return question{inputs, func(ctx context.Context) (*answer, error) {
		config, err := a.npmConfig(ctx, t)
		if err != nil {
			return nil, err
		}
		// A variable outranks the project's .npmrc, which may name a registry that the user allows besides: so it is set for a
		// mirror alone.
		bare, err := a.npmConfig(ctx, t, "npm_config_userconfig=/nonexistent/user", "npm_config_globalconfig=/nonexistent/global")
		if err != nil {
			return nil, err
		}
		got := &answer{}
		for _, key := range slices.Sorted(maps.Keys(config)) {
			url, ok := config[key].(string)
			if !ok || key != "registry" && !strings.HasSuffix(key, ":registry") {
				continue
			}
			why := "npm config get " + printable(key)
			if err := got.allow(url, why); err != nil {
				return nil, err
			}
			if key == "registry" && url != bare[key] {
				got.set("npm_config_registry", url, why)
			}
		}
		return got, nil
	}}, nil
}

func (a Asker) npmConfig(ctx context.Context, t tool, env ...string) (map[string]any, error) {
	// Without the two settings npm writes a log file and asks its registry whether it is up to date.
	env = append(env, "npm_config_logs_max=0", "npm_config_update_notifier=false")
	out, err := a.run(ctx, t, env, "config", "list", "--json", "--global")
	if err != nil {
		return nil, err
	}
	var config map[string]any
	if err := json.Unmarshal(out, &config); err != nil {
		return nil, fmt.Errorf("npm config list --json: %w", err)
	}
	return config, nil
}

// golang asks `go env`. GOTOOLCHAIN=local and GOWORK=off: a go.mod or go.work must not make the go command fetch and run another
// toolchain. "direct" and "off" name no host; a module that only "direct" can serve needs --allow of its host.
func (a Asker) golang() (question, error) {
	t, err := a.find("go")
	if err != nil {
		return question{}, err
	}
	inputs := []string{t.name, t.file, filepath.Join(a.home("XDG_CONFIG_HOME", "~/.config"), "go/env"),
		filepath.Join(filepath.Dir(filepath.Dir(t.file)), "go.env")}
	return question{inputs, func(ctx context.Context) (*answer, error) {
		out, err := a.run(ctx, t, []string{"GOTOOLCHAIN=local", "GOWORK=off"}, "env", "-json", "GOPROXY", "GOSUMDB")
		if err != nil {
			return nil, err
		}
		var env struct{ GOPROXY, GOSUMDB string }
		if err := json.Unmarshal(out, &env); err != nil {
			return nil, fmt.Errorf("go env -json: %w", err)
		}
		got := &answer{}
		for _, proxy := range strings.FieldsFunc(env.GOPROXY, func(c rune) bool { return c == ',' || c == '|' }) {
			proxy = strings.TrimSpace(proxy)
			if proxy == "direct" || proxy == "off" || strings.HasPrefix(proxy, "file:") {
				continue
			}
			if !strings.Contains(proxy, "://") {
				proxy = "https://" + proxy // as cmd/go does
			}
			if err := got.allow(proxy, "go env GOPROXY"); err != nil {
				return nil, err
			}
		}
		if len(got.Hosts) == 0 {
			return nil, errors.New("go env GOPROXY names no proxy: modules come directly from their hosts")
		}
		// GOSUMDB is NAME[+KEY] [URL] (go help module-auth).
		if fields := strings.Fields(env.GOSUMDB); len(fields) > 0 && fields[0] != "off" {
			name, _, _ := strings.Cut(fields[0], "+")
			url := "https://" + name
			if len(fields) > 1 {
				url = fields[1]
			}
			if err := got.allow(url, "go env GOSUMDB"); err != nil {
				return nil, err
			}
		}
		got.set("GOPROXY", env.GOPROXY, "go env GOPROXY")
		got.set("GOSUMDB", env.GOSUMDB, "go env GOSUMDB")
		return got, nil
	}}, nil
}

// pip asks `pip config list`, and pip itself for the index that it uses when none is configured and for the host of that
// index's files. python runs isolated (-I): no PYTHON* variable, no module from the working directory. A mirror that keeps its
// files on another host than its index needs --allow of that host; pip does not know it before it asks.
func (a Asker) pip() (question, error) {
	python, perr := a.firstOf("python3", "python")
	script, serr := a.firstOf("pip3", "pip")
	if perr != nil && serr != nil {
		return question{}, missingTool("pip")
	}
	config := a.home("XDG_CONFIG_HOME", "~/.config")
	inputs := []string{python.name, python.file, script.name, script.file, "/etc/pip.conf", "/etc/xdg/pip/pip.conf",
		filepath.Join(config, "pip/pip.conf"), a.path("~/.pip/pip.conf")}
	return question{inputs, func(ctx context.Context) (*answer, error) {
		var own, out []byte
		err := perr
		if err == nil {
			own, err = a.run(ctx, python, nil, "-I", "-c", "from pip._internal.models.index import PyPI as i; print(i.simple_url, i.file_storage_domain)")
		}
		env := []string{"PIP_DISABLE_PIP_VERSION_CHECK=1", "PIP_NO_INPUT=1"}
		switch {
		case err == nil:
			out, err = a.run(ctx, python, env, "-I", "-m", "pip", "config", "list")
		case serr == nil: // python3 has no pip, but there is one of another python
			out, err = a.run(ctx, script, env, "config", "list")
		}
		if err != nil {
			return nil, err
		}
		return pipAnswer(string(out), strings.Fields(string(own)))
	}}, nil
}

// pipAnswer reads lines like global.index-url='https://…'; own is pip's own index and the host of its files.
func pipAnswer(list string, own []string) (*answer, error) {
	got := &answer{}
	index, indexWhy := "", ""
	rank := map[string]int{"global": 1, "install": 2, ":env:": 3} // which of them pip install goes by
	best := 0
	for line := range strings.Lines(list) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		section, name, _ := strings.Cut(key, ".")
		value = strings.ReplaceAll(strings.Trim(value, `'"`), `\n`, "\n")
		why := "pip config get " + printable(key)
		switch name {
		case "index-url":
			if rank[section] > best {
				best, index, indexWhy = rank[section], value, why
			}
		case "extra-index-url", "find-links":
			for _, url := range strings.Fields(value) {
				if name == "find-links" && !strings.HasPrefix(url, "http:") && !strings.HasPrefix(url, "https:") {
					continue // a directory
				}
				if err := got.allow(url, why); err != nil {
					return nil, err
				}
			}
		}
	}
	if index == "" && len(own) == 2 {
		index, indexWhy = own[0], "pip's own index"
	}
	if index == "" {
		return nil, errors.New("pip does not tell which index it uses: python3 -m pip must work, or set it with pip config set global.index-url")
	}
	if err := got.allow(index, indexWhy); err != nil {
		return nil, err
	}
	if len(own) == 2 && hostOf(own[0]) == hostOf(index) {
		if err := got.allow("https://"+own[1], "pip's own index keeps its files there"); err != nil {
			return nil, err
		}
	}
	if best > 0 {
		got.set("PIP_INDEX_URL", index, indexWhy)
	}
	return got, nil
}
