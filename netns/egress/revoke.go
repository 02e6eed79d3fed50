package egress

import (
	"fmt"
	"slices"
)

// Revoke ends what is under way with these secrets: requests that are being sent, answers that are being read, upgraded connections.
// It is for a secret that [Config.Secrets] gives no more, from before the call on: a request that asks for it later is refused there.
// Names that the policy does not have are passed over.
func (d *Door) Revoke(names ...string) {
	for _, g := range d.vault.secrets {
		if slices.Contains(names, g.Name) {
			g.cut()
		}
	}
}

// cut ends the errands that have the secret.
func (g *guarded) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for e := range g.running {
		why := e.target.refuse(Revoked, fmt.Sprintf("secret %q: what was under way with it", g.Name), "")
		e.late.CompareAndSwap(nil, why)
		e.end(why)
	}
	clear(g.running)
}

// begin has the errand end with the secret. It comes before the value is asked for, so that there is no moment between the two in which
// nobody would end it.
func (g *guarded) begin(e *errand) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == nil {
		g.running = map[*errand]struct{}{}
	}
	g.running[e] = struct{}{}
}

// over says that the errand has ended by itself.
func (e *errand) over() {
	for _, g := range e.own {
		g.mu.Lock()
		delete(g.running, e)
		g.mu.Unlock()
	}
}
