package main

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8",
		Main:      debug.Module{Version: "v0.3.0"},
		Deps:      []*debug.Module{{Path: "github.com/vishvananda/netlink", Version: "v1.3.1"}, {Path: "example.com/other", Version: "v1"}},
		Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "arm64"},
			{Key: "vcs.revision", Value: "0123456789abcdef"}, {Key: "vcs.modified", Value: "true"}},
	}
	b := versionOf(info)
	if got, want := b.String(), "agentjail v0.3.0 (0123456789abcdef, modified) go1.26.8 linux/arm64"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(b.Modules) != 1 || b.Modules["github.com/vishvananda/netlink"] != "v1.3.1" {
		t.Errorf("modules %v", b.Modules)
	}
	for _, info := range []*debug.BuildInfo{nil, {GoVersion: "go1", Main: debug.Module{Version: "(devel)"}}} {
		if b := versionOf(info); b.Version != "devel" {
			t.Errorf("%v: %+v", info, b)
		}
	}
}
