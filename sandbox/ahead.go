package sandbox

import "os"

// Ahead is a gateway that starts, and makes its network, before there is a plan. Both take long and need nothing of the plan: beside it
// they cost a run a fifth less time than after it. Until it is told its acts it does nothing else, and it has nothing of the user's.
type Ahead struct {
	started chan aheadResult
	taken   bool
}

type aheadResult struct {
	gateway *gatewayProcess
	err     error
}

// StartAhead starts a gateway for this process's user; [Options] take it to the run that it is for. door says whether the run is likely to
// have one; where the plan has another word the network is made once more. For uid 0 it gives nil: there the gateway's id depends on the
// project; and so it does for a binary with a set-id bit, which [Probe] refuses.
func StartAhead(door bool) *Ahead {
	h := &Host{UID: os.Getuid(), GID: os.Getgid(), FS: diskFiles{}}
	if h.UID == 0 || os.Geteuid() != h.UID || os.Getegid() != h.GID {
		return nil
	}
	a := &Ahead{started: make(chan aheadResult, 1)}
	go func() {
		g, err := startGateway(Identity{HostUID: h.UID, HostGID: h.GID}, h, door)
		a.started <- aheadResult{g, err}
	}()
	return a
}

// take gives the gateway to the run, which kills it.
func (a *Ahead) take() (*gatewayProcess, error) {
	a.taken = true
	r := <-a.started
	return r.gateway, r.err
}

// Close ends a gateway that no run has taken. Of nil it does nothing.
func (a *Ahead) Close() {
	if a != nil && !a.taken {
		g, _ := a.take()
		g.kill()
	}
}
