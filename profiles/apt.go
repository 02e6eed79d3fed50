package profiles

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// apt reads the machine's sources, both formats of sources.list(5). Only root writes them, and no program is run. Sources that
// need no network (file, cdrom, copy) and those of other transports are passed over.
func (a Asker) apt() (*answer, error) {
	etc := either("/etc", a.Etc)
	files := []string{filepath.Join(etc, "apt/sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		more, err := filepath.Glob(filepath.Join(etc, "apt/sources.list.d", pattern))
		if err != nil {
			return nil, err
		}
		files = append(files, more...)
	}
	got := &answer{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", printable(file), cause(err))
		}
		uris := aptList(string(data))
		if strings.HasSuffix(file, ".sources") {
			uris = aptSources(string(data))
		}
		for _, uri := range uris {
			uri = strings.TrimPrefix(uri, "mirror+")
			if !strings.HasPrefix(uri, "http://") && !strings.HasPrefix(uri, "https://") {
				continue
			}
			if err := got.allow(uri, printable(file)); err != nil {
				return nil, err
			}
		}
	}
	if len(got.Hosts) == 0 {
		return nil, fmt.Errorf("%s names no source with a host", filepath.Join(etc, "apt/sources.list"))
	}
	return got, nil
}

// aptList reads one-line entries: deb [options] URI suite component….
func aptList(text string) []string {
	var uris []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		kind, rest, _ := strings.Cut(strings.TrimSpace(strings.ReplaceAll(line, "\t", " ")), " ")
		if kind != "deb" && kind != "deb-src" {
			continue
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			_, rest, _ = strings.Cut(rest, "]")
		}
		if fields := strings.Fields(rest); len(fields) > 0 {
			uris = append(uris, fields[0])
		}
	}
	return uris
}

// aptSources reads deb822 stanzas: the URIs of those that are not switched off.
func aptSources(text string) []string {
	var uris, stanza []string
	enabled, key := true, ""
	for _, line := range append(strings.Split(text, "\n"), "") {
		switch {
		case strings.HasPrefix(line, "#"):
			continue
		case strings.TrimSpace(line) == "":
			if enabled {
				uris = append(uris, stanza...)
			}
			stanza, enabled, key = nil, true, ""
			continue
		}
		value := line
		if line[0] != ' ' && line[0] != '\t' { // else it continues the field above
			key, value, _ = strings.Cut(line, ":")
		}
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "uris":
			stanza = append(stanza, strings.Fields(value)...)
		case "enabled":
			enabled = !slices.Contains([]string{"no", "false", "without", "off", "disable", "0"}, strings.ToLower(strings.TrimSpace(value)))
		}
	}
	return uris
}
