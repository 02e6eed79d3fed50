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

func asker(h *sandbox.Host) *profiles.Asker {
	return &profiles.Asker{}
}
