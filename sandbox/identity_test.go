package sandbox

import (
	"testing"

	"github.com/agentjail/agentjail/profiles"
)

func TestIdentity(t *testing.T) {
	one := "/proc/self/uid_map = \"0 1000 1\\n\"\n/proc/self/gid_map = \"0 1000 1\\n\"\n"
	for _, tt := range []struct {
		name, tree string
		env        []string
		uid        int // the caller
		want       Identity
	}{
		{"an ordinary user", "/code/p/ uid=0", nil, 1000, Identity{UID: 1000, GID: 1000, HostUID: 1000, HostGID: 1000, User: "u"}},
		{"an ordinary user with SUDO_UID set", "/code/p/ uid=0", []string{"SUDO_UID=5", "SUDO_GID=5"}, 1000,
			Identity{UID: 1000, GID: 1000, HostUID: 1000, HostGID: 1000, User: "u"}},
		{"sudo in the user's project", "/code/p/ uid=1000", []string{"SUDO_UID=1000", "SUDO_GID=1001"}, 0,
			Identity{UID: 1000, GID: 1001, HostUID: 1000, HostGID: 1001, User: "u"}},
		{"sudo in another's project", "/code/p/ uid=1200", []string{"SUDO_UID=1000", "SUDO_GID=1000"}, 0,
			Identity{UID: 1200, GID: 1201, HostUID: 1200, HostGID: 1201, User: "ci"}},
		{"sudo in root's project", "/code/p/ uid=0", []string{"SUDO_UID=1000", "SUDO_GID=1000"}, 0,
			Identity{UID: 1000, GID: 1000, HostUID: 1000, HostGID: 1000, User: "u", IDMap: true}},
		{"root in a user's project", "/code/p/ uid=4242", nil, 0, Identity{UID: 4242, GID: 4242, HostUID: 4242, HostGID: 4242, User: "agent"}},
		{"root in root's project", "/code/p/ uid=0", nil, 0, Identity{UID: 65520, GID: 65520, HostUID: 65520, HostGID: 65520, User: "agent", IDMap: true}},
		{"root with a nonsense SUDO_UID", "/code/p/ uid=0", []string{"SUDO_UID=0", "SUDO_GID=-1"}, 0,
			Identity{UID: 65520, GID: 65520, HostUID: 65520, HostGID: 65520, User: "agent", IDMap: true}},
		{"root of a namespace with one id", "/code/p/ uid=0\n" + one, nil, 0, Identity{UID: 1000, GID: 1000, User: "u"}},
		{"root of a namespace in nobody's project", "/code/p/ uid=65534\n" + one, nil, 0, Identity{UID: 1000, GID: 1000, User: "u"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := root(t, "/code/p", tt.tree)
			if tt.uid != 0 {
				h = user(t, "/code/p", tt.tree)
			}
			h.Env = append(h.Env, tt.env...)
			got := plan(t, h, &profiles.Profile{}, Request{}).Identity
			if got.Why == "" {
				t.Error("no reason")
			}
			got.Why, tt.want.Home = "", h.Home
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
			if here := identityHere(h); here.HostUID != got.HostUID || here.HostGID != got.HostGID || here.IDMap != got.IDMap {
				t.Errorf("doctor would try %+v", here)
			}
			attr := (&doctor{host: h, id: identityHere(h)}).mapped(0)
			if attr.UidMappings[0].HostID != got.HostUID || attr.GidMappings[0].HostID != got.HostGID || (attr.Credential != nil) != (tt.uid == 0) {
				t.Errorf("doctor maps %+v", attr)
			}
			if got.UID == 0 || got.GID == 0 {
				t.Error("inside it is uid or gid 0")
			}
		})
	}
}

func TestIDMapsWhatRootOwns(t *testing.T) {
	h := root(t, "/code/p", "/code/p/.envrc uid=0\n/srv/root/ uid=0\n/srv/user/ uid=1000\n")
	p := &profiles.Profile{}
	p.FS.Write = items("--rw", "/srv/root", "/srv/user")
	got := plan(t, h, p, Request{})
	for target, want := range map[string]bool{"/code/p": true, "/code/p/.envrc": true, "/srv/root": true, "/srv/user": false, "/usr": false} {
		if m := got.mountAt(KindBind, target); m == nil || m.IDMap != want {
			t.Errorf("%s: %+v, want idmap %v", target, m, want)
		}
	}
}

func TestValidUser(t *testing.T) {
	for name, want := range map[string]bool{"u": true, "_apt": true, "a.b-c": true, "host$": true, "": false, "a:b": false, "a\nb": false, "0a": false, "-x": false} {
		if validUser(name) != want {
			t.Errorf("%q: want %v", name, want)
		}
	}
}
