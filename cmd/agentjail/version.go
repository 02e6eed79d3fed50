package main

import (
	"context"
	"fmt"
	"runtime/debug"
)

func (a *app) versionCommand() *subcommand {
	return &subcommand{
		name: "version", path: "agentjail version", usage: "tell which build this is; so does --version",
		example: []string{"agentjail version --json # with the revision and the libraries that build the walls"},
		groups:  []group{{"Flags", []*option{a.flags.jsonFlag()}}},
		action: func(_ context.Context, rest []string) error {
			if len(a.words.operands(rest)) > 0 {
				return usage("agentjail version", "version takes no argument")
			}
			return a.printVersion()
		},
	}
}

func (a *app) printVersion() error {
	info, _ := debug.ReadBuildInfo()
	v := versionOf(info)
	if a.flags.out.json {
		return a.answer(v)
	}
	_, err := fmt.Fprintln(a.Out, v)
	return err
}

// build is what the toolchain wrote into the binary, see runtime/debug.BuildInfo.
type build struct {
	Version  string            `json:"version"`
	Revision string            `json:"revision,omitempty"` // of the version control system
	Time     string            `json:"time,omitempty"`     // of the revision, RFC 3339
	Modified bool              `json:"modified,omitempty"` // the work tree had changes
	Go       string            `json:"go"`
	Platform string            `json:"platform"`
	Modules  map[string]string `json:"modules,omitempty"` // those that build the walls
}

func (b build) String() string {
	s := "agentjail " + b.Version
	if b.Revision != "" {
		s += " (" + b.Revision
		if b.Modified {
			s += ", modified"
		}
		s += ")"
	}
	return s + " " + b.Go + " " + b.Platform
}

func versionOf(info *debug.BuildInfo) build {
	b := build{Version: "devel"}
	if info == nil {
		return b
	}
	b.Go = info.GoVersion
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.Version = v
	}
	var os, arch string
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		case "GOOS":
			os = s.Value
		case "GOARCH":
			arch = s.Value
		}
	}
	b.Platform = os + "/" + arch
	b.Modules = map[string]string{}
	for _, m := range info.Deps {
		switch m.Path {
		case "github.com/seccomp/libseccomp-golang", "github.com/vishvananda/netlink":
			b.Modules[m.Path] = m.Version
		}
	}
	return b
}
