package sandbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/agentjail/agentjail/netns/egress"
	"github.com/agentjail/agentjail/seccomp"
)

// launch does each step in order. The order has reasons: doc.go, "Order of acts".
func (r *run) launch(ctx context.Context) error {
	r.log.Debug("launch", "session", r.report.Session, "command", r.plan.Command.Argv)
	if e := r.plan.missing(); e != nil {
		return e
	}
	var trust trusted
	withDoor := r.plan.Net.Mode.Value == "door"
	if withDoor {
		var err error
		if trust, err = r.plan.trusted(r.host); err != nil {
			return &Error{Step: StepDoor, Err: err}
		}
	}
	if err := r.openStdio(); err != nil {
		return &Error{Step: StepStdio, Err: err, Hint: "redirect from a file, a pipe or /dev/null"}
	}
	r.dir = filepath.Join(r.host.StateDir, "sessions", r.report.Session)
	var err error
	start := record{Time: r.report.Started, Event: "session.start", Name: r.plan.Name, Command: r.plan.Command.Argv,
		Profile: r.plan.Profile, Project: r.plan.Project}
	if r.audit, err = openAudit(r.dir, r.report.Session, start); err != nil {
		return noRecord(err)
	}

	// Before the secrets, so that it has no copy of one.
	if r.opts.Ahead != nil {
		r.gateway, err = r.opts.Ahead.take()
	} else {
		r.gateway, err = startGateway(r.plan.Identity, r.host, withDoor)
	}
	if err != nil {
		return r.explain(StepUserNamespace, err)
	}
	if r.secrets, err = r.openSecrets(ctx); err != nil {
		return err
	}
	if r.control, err = openControl(r.dir, r.secrets.revoke, r.audit.revoked); err != nil {
		return r.explain(StepControl, err)
	}
	mounts := r.plan.Mounts
	if withDoor {
		files, err := r.makeDoor(trust.ca)
		if err != nil {
			return err
		}
		mounts = slices.Concat(mounts, trust.mounts, files)
	}
	var degraded []string
	r.cgroup, degraded, err = newCgroup(ctx, r.plan.Limits, r.report.Session, r.host, r.plan.Identity, r.plan.allows("limits"))
	if err != nil {
		return r.explain(StepCgroup, err)
	}
	r.report.Degraded = append(r.report.Degraded, degraded...)

	var initEnd *os.File
	if r.init.channel, initEnd, err = newChannel(); err != nil {
		return r.explain(StepHandshake, err)
	}
	defer initEnd.Close()
	if err := r.tellGateway(r.plan.Identity, mounts, initEnd); err != nil {
		return err
	}
	go r.begin() // while the gateway makes the tree there is time
	spareThreads()
	if r.door != nil {
		if err := r.openDoor(); err != nil {
			return err
		}
		if err := r.sendStores(<-trust.filled); err != nil {
			return err
		}
	}
	return r.startCommand()
}

// openSecrets asks for the secrets' values, if the plan has any.
func (r *run) openSecrets(ctx context.Context) (*keeper, error) {
	if len(r.plan.Secrets) > 0 {
		if err := errors.Join(noCore(), undumpable()); err != nil {
			return nil, &Error{Step: StepSecrets, Err: err}
		}
	}
	return newKeeper(ctx, r.plan, r.host, time.Now)
}

// makeDoor makes the door, and gives the files with placeholders that the jail's programs have for it.
func (r *run) makeDoor(ca *egress.CA) ([]Mount, error) {
	var err error
	if r.door, err = newDoor(r.plan, r.secrets, ca, r.audit.door); err != nil {
		return nil, &Error{Step: StepDoor, Err: err}
	}
	return r.secrets.files()
}

// sendStores gives the gateway what the trust stores hold. It may have ended meanwhile, with a word about it.
func (r *run) sendStores(f filled) error {
	if f.err != nil {
		return &Error{Step: StepDoor, Err: f.err}
	}
	parcel, err := packMounts(f.mounts)
	if err != nil {
		return r.explain(StepHandshake, err)
	}
	defer parcel.Close()
	err = r.gateway.channel.send(&message{GatewayLate: true}, parcel)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		if m, e := r.gateway.channel.receive(); e == nil && m.Failure != nil {
			return r.explain(m.Failure.Step, m.Failure.err())
		}
		return r.gatewayError(err)
	}
	if err != nil {
		return r.explain(StepHandshake, err)
	}
	return nil
}

// tellGateway puts the gateway into its cgroup and tells it its acts.
func (r *run) tellGateway(id Identity, mounts []Mount, initEnd *os.File) error {
	if err := r.cgroup.Add(r.gateway.pid); err != nil {
		return r.explain(StepCgroup, err)
	}
	err := r.gateway.begin(r, id, mounts, initEnd)
	if e, ok := errors.AsType[*Error](err); ok && e.Step == StepIDMap && id.HostUID != 0 {
		// Root's project on a file system without idmapped mounts: no other uid can own it, so the host uid stays 0 behind the same
		// walls (doc.go, "Started by uid 0").
		r.log.Info("the project's file system has no idmapped mounts; the jail's host uid is 0", "error", e.Err)
		r.gateway.kill()
		id.HostUID, id.HostGID = 0, 0
		if r.gateway, err = startGateway(id, r.host, r.door != nil); err != nil {
			return r.explain(StepUserNamespace, err)
		}
		return r.tellGateway(id, mounts, initEnd)
	}
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return r.gatewayError(err)
	}
	if err != nil {
		return r.explain(StepHandshake, err)
	}
	return nil
}

// openStdio decides for a terminal and looks at the caller's descriptors.
func (r *run) openStdio() error {
	wanted := wantsTerminal(r.plan.TTY, r.opts.Stdio)
	if wanted {
		r.terminal = &terminal{in: r.opts.In, out: r.opts.Out}
	}
	var err error
	r.streams, err = newStreams(r.opts.Stdio, wanted)
	return err
}

// openDoor takes the sockets that were born in N0 and serves them from here.
func (r *run) openDoor() error {
	var files []*os.File
	for more := true; more; {
		m, err := r.gateway.channel.receive()
		if err != nil {
			return r.gatewayError(err)
		}
		if m.Failure != nil {
			return r.explain(m.Failure.Step, m.Failure.err())
		}
		if m.GatewaySockets == nil {
			return &Error{Step: StepHandshake, Err: errors.New("the gateway sent something else than its sockets")}
		}
		n := min(len(r.door.ports)+1-len(files), maxFDs)
		got, err := m.claim(n)
		if err != nil {
			return r.explain(StepHandshake, err)
		}
		files = append(files, got...)
		more = m.GatewaySockets.More
	}
	if err := r.door.serve(files); err != nil {
		return r.explain(StepDoor, err)
	}
	return nil
}

// startCommand tells init what to run. init reads it when the gateway has started it.
func (r *run) startCommand() error {
	if b := r.begin(); b.err != nil {
		return noRecord(b.err)
	}
	filter, err := seccomp.Program(groupNames(r.plan.Syscalls))
	if err != nil {
		return &Error{Step: StepSeccomp, Err: err}
	}
	c := r.plan.Command
	start := &initStart{Path: c.Path, Argv: c.Argv, Dir: c.Dir, UID: r.plan.Identity.UID, GID: r.plan.Identity.GID,
		Rlimits: append(r.cgroup.rlimits(), sharedLimits()...), Filter: filter, Umask: r.umask,
		Slack: callerSlack()}
	for _, v := range c.Env {
		start.Env = append(start.Env, v.Name+"="+r.secrets.environ(v))
	}
	start.Env = append(start.Env, "AGENTJAIL_SESSION="+r.report.Session)
	if r.terminal != nil {
		start.Terminal, start.Size = true, r.terminal.size()
		start.Stderr = r.streams.separate(2)
	}
	packed, err := start.pack()
	if err != nil {
		return &Error{Step: StepCommand, Err: err}
	}
	// Beside us: the socket's buffer may be smaller than the message while nobody reads.
	go r.init.start(packed)
	return nil
}
