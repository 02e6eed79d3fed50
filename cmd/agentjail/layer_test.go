package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentjail/agentjail/profiles"
)

func TestLayer(t *testing.T) {
	f := flags{
		files:  fileFlags{ro: []string{"lib,with,commas", "/opt/x", "~/y"}, hide: []string{"*.pem"}, home: "persistent"},
		net:    netFlags{mode: "door", allow: []string{"a.example.com", "@npm"}, deny: []string{"b.example.com:22"}},
		env:    []string{"TERM", "CI=1", "LIST=a=b,c", "EMPTY="},
		limits: []string{"memory=4GiB", "wall=1h30m", "memory=2GiB"},
	}
	got, err := f.layer("/home/u/project/sub")
	if err != nil {
		t.Fatal(err)
	}
	item := func(value, why string) profiles.Item { return profiles.Item{Value: value, Why: why} }
	want := &profiles.Profile{
		FS: profiles.FS{
			Read: []profiles.Item{item("/home/u/project/sub/lib,with,commas", "--ro"), item("/opt/x", "--ro"), item("~/y", "--ro")},
			Hide: []profiles.Item{item("*.pem", "--hide")},
			Home: item("persistent", "--home"),
		},
		Net: profiles.Net{
			Mode:  item("door", "--net"),
			Allow: []profiles.Item{item("a.example.com", "--allow"), item("@npm", "--allow")},
			Deny:  []profiles.Item{item("b.example.com:22", "--deny")},
		},
		Limits: profiles.Limits{Memory: item("2GiB", "--limit"), Wall: item("1h30m", "--limit")},
		Env: profiles.Env{
			Pass: []profiles.Item{item("TERM", "--env")},
			Set: []profiles.EnvSet{{Name: "CI", Value: "1", Why: "--env"}, {Name: "LIST", Value: "a=b,c", Why: "--env"},
				{Name: "EMPTY", Value: "", Why: "--env"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLayerRefuses(t *testing.T) {
	for _, test := range []struct {
		flags flags
		want  string
	}{
		{flags{env: []string{"=x"}}, "--env"},
		{flags{env: []string{"A B=x"}}, "--env"},
		{flags{limits: []string{"memory"}}, "--limit memory: want KEY=VALUE"},
		{flags{limits: []string{"cpu=1"}}, `no such limit "cpu"`},
		{flags{limits: []string{"pids=-1"}}, "--limit pids=-1"},
		{flags{net: netFlags{allow: []string{"https://a.example.com"}}}, "--allow"},
		{flags{net: netFlags{allow: []string{"127.1"}}}, "--allow"},
		{flags{net: netFlags{allow: []string{"a.example.com,b.example.com"}}}, "--allow"},
		{flags{net: netFlags{mode: "none", allow: []string{"a.example.com"}}}, "--allow a.example.com with --net none"},
		{flags{files: fileFlags{protect: []string{"../x"}}}, "--protect"},
	} {
		if _, err := test.flags.layer("/p"); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want an error with %q", test.flags, err, test.want)
		}
	}
}
