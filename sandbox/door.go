package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"

	"github.com/agentjail/agentjail/netns"
	"github.com/agentjail/agentjail/netns/egress"
)

// door is the way out as one session uses it: egress decides, and the sockets come from the gateway.
type door struct {
	*egress.Door
	ports   []uint16
	cancel  context.CancelFunc
	serving sync.WaitGroup
}

func newDoor(p *Plan, secrets *keeper, ca *egress.CA, event func(egress.Event)) (*door, error) {
	policy := p.Net.Policy
	policy.Secrets = secrets.policy()
	d, err := egress.New(egress.Config{Policy: &policy, Secrets: secrets.value, Known: secrets.known, CA: ca, Gateway: netns.Gateway(),
		Explain: netns.Explain(), Range: netns.Range(), Event: event})
	if err != nil {
		return nil, err
	}
	secrets.cutting(d.Revoke)
	return &door{Door: d, ports: d.Ports()}, nil
}

// serve starts the door on its sockets, which it takes over: UDP for DNS first, then a listener for each port.
func (d *door) serve(files []*os.File) error {
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	for i, f := range files {
		if i == 0 {
			c, err := net.FilePacketConn(f)
			f.Close()
			if err != nil {
				return fmt.Errorf("DNS socket: %w", err)
			}
			d.serving.Go(func() { d.ServeDNS(ctx, c) })
			continue
		}
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return fmt.Errorf("listener of port %d: %w", d.ports[i-1], err)
		}
		d.serving.Go(func() { d.Serve(ctx, l) })
	}
	return nil
}

// close ends every connection, the idle ones to real servers as well, and waits until the door's last word is in the record.
func (d *door) close() {
	if d == nil {
		return
	}
	if d.cancel != nil {
		d.cancel()
	}
	d.Close()
	d.serving.Wait()
}
