package selftest

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// bystander starts the process that the jail must not find, and waits until it is there.
func (r *running) bystander(ctx context.Context) (stop func(), err error) {
	t := &r.shared
	t.Bystander = process{Role: roleBystander, Mark: t.Token}
	arg, err := json.Marshal(job{Target: target{Token: t.Token}})
	if err != nil {
		return nil, err
	}
	open, err := os.Open(filepath.Join(r.dir, roleOutside, "home/marker"))
	if err != nil {
		return nil, err
	}
	defer open.Close()
	cmd := exec.CommandContext(ctx, r.program)
	cmd.Args = []string{Name, roleBystander, string(arg)}
	cmd.Dir = filepath.Dir(open.Name())
	cmd.Env = append(os.Environ(), keyVariable+"="+t.Token)
	cmd.ExtraFiles = []*os.File{open}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL, Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		in.Close()
		cmd.Process.Kill() // one that was stopped does not read
		cmd.Wait()
	}
	var l line
	if err := json.NewDecoder(out).Decode(&l); err != nil {
		stop()
		return nil, errors.New("the bystander did not start")
	}
	t.Bystander.PID, t.Bystander.Address = cmd.Process.Pid, l.Address
	return stop, nil
}

// otherJail starts the second jail and waits until all is there that the first is after. Its controls run on beside the attack.
func (r *running) otherJail(ctx context.Context) (stop func(), err error) {
	b := batch{role: roleOther, side: "control", names: named(r.all, func(a attempt) bool { return a.control == other })}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer read.Close()
	cmd, said, err := r.command(ctx, roleOther, job{b.names, r.side(roleOther)}, read)
	if err != nil {
		write.Close()
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		write.Close()
		return nil, err
	}
	answers := json.NewDecoder(out)
	var first line
	err = answers.Decode(&first)
	if err != nil || first.Other == nil {
		write.Close()
		return nil, failed(cmd.Wait(), said)
	}
	collected := make(chan struct{})
	go func() {
		r.collect(answers, b)
		close(collected)
	}()
	stop = func() {
		write.Close() // the runner answers to the end, then reads that it may go
		<-collected
		cmd.Wait()
	}
	if err := r.know(*first.Other, cmd.Process.Pid); err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// know notes what the second jail is known by on the host.
func (r *running) know(o session, launcher int) error {
	mark := r.shared.Other.Runner.Mark
	o.Launcher = process{PID: launcher, Role: roleOther, Mark: mark}
	o.Runner = process{Role: roleOther, Mark: mark}
	runner, err := findCommand(o.Runner, launcher)
	if err != nil {
		return err
	}
	o.Runner.PID = runner
	sessions := filepath.Join(r.shared.State, "agentjail/sessions")
	records, err := os.ReadDir(sessions)
	if err != nil {
		return err
	}
	if len(records) > 0 {
		o.Record = filepath.Join(sessions, records[0].Name())
	}
	r.shared.Other = o
	return nil
}

// findCommand finds the process that has the role and is not its launcher, whose arguments hold the same words.
func findCommand(p process, launcher int) (int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if pid := atoi(e.Name()); pid > 0 && pid != launcher && p.is(pid) {
			return pid, nil
		}
	}
	return 0, errors.New("the second jail's command is not to be seen on the host")
}
