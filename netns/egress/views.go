package egress

import "slices"

// views looks for needles in a stream, whatever pieces it comes in: as it is, unescaped once and unescaped twice. As long as nothing is
// escaped these are the same, and one is looked at.
type views struct {
	needles *needles
	wrapped bool // line ends are passed over: base64 is broken into lines
	pos     int  // bytes taken
	apart   bool // the views differ; else the first stands for all
	view    [3]view
	codes   [2]unescaper // from one view to the next
	units   [2][2 * maxEscape]unit
}

// view is one of them.
type view struct {
	at     int32
	pos    int   // of the stream as it came: what this view has got
	starts []int // the same, where each byte of what at stands for begins; not kept while the views are one
	gap    gap   // behind the last of them
}

// gap is what was passed over between two bytes of a needle.
type gap struct {
	mute int  // zero bytes
	line bool // a line end
	over bool // of which nothing is left to come: the next one makes a blank line
}

// maxMute is how many zero bytes may stand between two bytes of a needle: what is held back for it has to have a bound. In UTF-32 a line
// end of two bytes has 9 around it.
const maxMute = 12

// pass takes what may be passed over, and says whether the needle goes on behind it.
func (g *gap) pass(c byte) bool {
	switch {
	case c == 0:
		g.mute++
		return g.mute <= maxMute
	case g.over, c == '\r' && g.line:
		return false
	}
	g.line, g.over = true, c == '\n'
	return true
}

// hit is a needle that was found.
type hit struct {
	needle     int // counted from 1; 0: none
	start, end int // in the stream as it came
	levels     int // how often it was unescaped
}

// idle gives how many of the next bytes change nothing: no needle begins with them and no escape does.
func (v *views) idle(p []byte) int {
	if v.apart || v.view[0].at != 0 {
		return 0
	}
	for i, c := range p {
		if v.needles.special[c] {
			return i
		}
	}
	return len(p)
}

// skip takes idle bytes.
func (v *views) skip(n int) { v.pos += n }

// take takes one byte and gives the needle that it completes. Of several it is the one that begins first. Behind it may be bytes that were
// taken, too: they were needed to see where an escape ends.
func (v *views) take(c byte) (best hit) {
	if !v.apart {
		if !introduces(c) {
			v.pos++
			first := &v.view[0]
			if c == '\r' || c == '\n' {
				if v.wrapped {
					return hit{}
				}
				if v.needles.broken(first.at) != 0 {
					v.pos--
					return v.each(c)
				}
			}
			first.at = v.needles.step(first.at, c)
			state := &v.needles.nodes[first.at]
			if state.hit == 0 {
				return hit{}
			}
			return hit{needle: int(state.hit), start: v.pos - v.needles.lengths[state.hit-1], end: v.pos}
		}
	}
	return v.each(c)
}

// each gives a byte to every view.
func (v *views) each(c byte) (best hit) {
	if !v.apart {
		v.part()
	}
	v.pos++
	v.step(0, unit{c: c, size: 1}, &best)
	for _, u := range v.codes[0].put(v.units[0][:0], unit{c: c, size: 1}) {
		v.step(1, u, &best)
		for _, u := range v.codes[1].put(v.units[1][:0], u) {
			v.step(2, u, &best)
		}
	}
	v.join()
	return best
}

// flush takes what may be the beginning of an escape as it is: nothing comes behind it. It gives the needle that this completes.
func (v *views) flush() (best hit) {
	if !v.apart {
		return hit{}
	}
	for _, u := range v.codes[0].flush(v.units[0][:0]) {
		v.step(1, u, &best)
		for _, u := range v.codes[1].put(v.units[1][:0], u) {
			v.step(2, u, &best)
		}
	}
	for _, u := range v.codes[1].flush(v.units[1][:0]) {
		v.step(2, u, &best)
	}
	return best
}

// part makes three views of the one.
func (v *views) part() {
	v.apart = true
	at := v.view[0].at
	depth := int(v.needles.nodes[at].depth)
	for i := range v.view {
		view := &v.view[i]
		view.at, view.pos, view.starts, view.gap = at, v.pos, view.starts[:0], gap{}
		for back := depth; back > 0; back-- {
			view.starts = append(view.starts, v.pos-back)
		}
	}
}

// join makes them one again where they are the same.
func (v *views) join() {
	for i := range v.view[1:] {
		a, b := &v.view[i], &v.view[i+1]
		if a.at != b.at || a.pos != b.pos || len(a.starts) > 0 && a.starts[0] != b.starts[0] {
			return
		}
	}
	if first := &v.view[0]; len(first.starts) == 0 || first.starts[0]+len(first.starts) == v.pos {
		v.apart = false
	}
}

// step gives one view its next byte.
func (v *views) step(level int, u unit, best *hit) {
	view := &v.view[level]
	start := view.pos
	view.pos += u.size
	line := u.c == '\r' || u.c == '\n'
	if v.wrapped && (u.mute || line) {
		return // nothing is held back for it
	}
	if view.at == 0 && v.needles.root[u.c] == 0 {
		return
	}
	if u.mute || line {
		view.over(v.needles, u)
		return
	}
	view.gap = gap{}
	view.at = v.needles.step(view.at, u.c)
	state := &v.needles.nodes[view.at]
	view.starts = append(view.starts, start)
	if more := len(view.starts) - int(state.depth); more > 0 {
		view.starts = slices.Delete(view.starts, 0, more)
	}
	if state.hit == 0 {
		return
	}
	first := view.starts[len(view.starts)-v.needles.lengths[state.hit-1]]
	if best.needle == 0 || first < best.start {
		*best = hit{needle: int(state.hit), start: first, end: view.pos, levels: level}
	}
}

// over passes over a zero byte or a line end, or forgets what had begun.
func (v *view) over(n *needles, u unit) {
	if !u.mute {
		v.at = n.broken(v.at)
	}
	if v.at != 0 && !v.gap.pass(u.c) {
		v.at = 0
	}
	if v.at == 0 {
		v.gap = gap{}
	}
	v.starts = v.starts[len(v.starts)-int(n.nodes[v.at].depth):]
}

// certain gives how many bytes of the stream are part of nothing that may become a needle.
func (v *views) certain() int {
	if !v.apart {
		return v.pos - int(v.needles.nodes[v.view[0].at].depth)
	}
	n := v.pos
	for i := range v.view {
		n = min(n, v.view[i].pos)
		if len(v.view[i].starts) > 0 {
			n = min(n, v.view[i].starts[0])
		}
	}
	return n
}
