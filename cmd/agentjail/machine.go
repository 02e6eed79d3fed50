package main

import (
	"path/filepath"

	"github.com/agentjail/agentjail/profiles"
	"github.com/agentjail/agentjail/sandbox"
)

// Where the files of package profiles lie on this machine.

func library(h *sandbox.Host) profiles.Library { return profiles.NewLibrary(h.ConfigDir) }

func trustStore(h *sandbox.Host) profiles.Trust {
	return profiles.Trust{Dir: filepath.Join(h.StateDir, "trust")}
}

// asker runs the tools of the host outside of everything that a jail can have written. Without cache it writes nothing itself.
func asker(h *sandbox.Host, project string, cache bool) profiles.Asker {
	a := profiles.Asker{Env: h.Env, Dir: h.Home, Avoid: []string{project, filepath.Join(h.StateDir, "homes")}}
	if cache {
		a.CacheDir = filepath.Join(h.StateDir, "bundles")
	}
	return a
}
