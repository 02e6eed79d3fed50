package egress

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxPktLine is the longest pkt-line, its length included (gitprotocol-common(5)).
const maxPktLine = 65520

// The pkt-lines that are a length and nothing else. Their "lengths" are 0, 1 and 2.
const (
	dataPkt = -1
	flush   = 0
)

// readPktLine reads one pkt-line (gitprotocol-common(5)) and not a byte more: its text, or which of the special ones it is. A line
// that ends early is io.ErrUnexpectedEOF, the end before a line io.EOF.
func readPktLine(r io.Reader) (text string, special int, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", 0, err
	}
	n, err := pktLength(head[:])
	if err != nil || n < 4 {
		return "", n, err
	}
	line := make([]byte, n-4)
	if _, err := io.ReadFull(r, line); err != nil {
		return "", 0, fmt.Errorf("pkt-line of %d bytes: %w", n, io.ErrUnexpectedEOF)
	}
	return string(line), dataPkt, nil
}

// pktLength reads the four digits of a length. strconv would take a sign and an underscore.
func pktLength(head []byte) (int, error) {
	n := 0
	for _, c := range head {
		d := nibble(c)
		if d < 0 {
			return 0, fmt.Errorf("pkt-line length %s", strconv.QuoteToASCII(string(head)))
		}
		n = n<<4 | d
	}
	if n == 3 || n > maxPktLine {
		return 0, fmt.Errorf("pkt-line length %d", n)
	}
	return n, nil
}

// pktLine gives text as a pkt-line.
func pktLine(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

// command is one change that a push asks for.
type command struct {
	old, new string // object ids; all zeroes: there is none
	ref      string
}

func (c command) creates() bool { return zeroID(c.old) }
func (c command) deletes() bool { return zeroID(c.new) }

// pushRequest is what stands before the pack (gitprotocol-pack(5), "Reference Update Request").
type pushRequest struct {
	commands     []command
	capabilities []string
	options      []string
	shallow      []string // object ids
}

func (p *pushRequest) can(capability string) bool {
	for _, c := range p.capabilities {
		if name, _, _ := strings.Cut(c, "="); name == capability {
			return true
		}
	}
	return false
}

const (
	maxPush    = 1 << 20 // bytes before the pack
	maxRefName = 1 << 10
)

var (
	errPushCert = errors.New("signed push: the door does not read push certificates; push without --signed")
	errPushSize = fmt.Errorf("more than %d bytes before the pack", maxPush)
)

// readPush reads from a body up to the pack, and not a byte more. It takes nothing that git's own server could read in another way:
// shallow lines, then commands, of which the first carries the capabilities; with the capability push-options a second list.
// A body that has a flush and nothing before it is git's probe for whether it may send a large one: no commands, and no more bytes.
func readPush(r io.Reader) (*pushRequest, error) {
	bounded := &io.LimitedReader{R: r, N: maxPush}
	p, err := readCommands(bounded)
	if err == nil && len(p.commands) > 0 && p.can("push-options") {
		p.options, err = readOptions(bounded)
	}
	switch {
	case err != nil && bounded.N <= 0:
		return nil, errPushSize
	case errors.Is(err, io.EOF):
		return nil, io.ErrUnexpectedEOF
	case err != nil:
		return nil, err
	}
	if len(p.commands) == 0 {
		if n, err := io.ReadFull(r, make([]byte, 1)); n != 0 || err != io.EOF {
			return nil, errors.New("a pack, and no commands before it")
		}
	}
	return p, nil
}

func readCommands(r io.Reader) (*pushRequest, error) {
	p := &pushRequest{}
	for {
		line, special, err := readPktLine(r)
		switch {
		case err != nil:
			return nil, err
		case special == flush:
			return p, nil
		case special != dataPkt:
			return nil, fmt.Errorf("special pkt-line %d among commands", special)
		}
		first := len(p.commands) == 0
		line, capabilities, found := strings.Cut(line, "\x00")
		if found && !first {
			return nil, errors.New("NUL in a command behind the first")
		}
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "push-cert") {
			return nil, errPushCert
		}
		if id, found := strings.CutPrefix(line, "shallow "); found && first && capabilities == "" {
			if !objectID(id) {
				return nil, fmt.Errorf("shallow line %s", strconv.QuoteToASCII(line))
			}
			p.shallow = append(p.shallow, id)
			continue
		}
		c, err := parseCommand(line)
		if err != nil {
			return nil, err
		}
		if first {
			p.capabilities = strings.Fields(capabilities)
		}
		p.commands = append(p.commands, c)
	}
}

func parseCommand(line string) (command, error) {
	old, rest, _ := strings.Cut(line, " ")
	id, ref, _ := strings.Cut(rest, " ")
	switch {
	case !objectID(old), !objectID(id), len(old) != len(id):
		return command{}, fmt.Errorf("command %s", strconv.QuoteToASCII(line))
	case !validRef(ref):
		return command{}, fmt.Errorf("ref name %s", strconv.QuoteToASCII(ref))
	}
	return command{old: old, new: id, ref: ref}, nil
}

func readOptions(r io.Reader) (options []string, err error) {
	for {
		line, special, err := readPktLine(r)
		switch {
		case err != nil:
			return nil, err
		case special == flush:
			return options, nil
		case special != dataPkt:
			return nil, fmt.Errorf("special pkt-line %d among push options", special)
		}
		options = append(options, strings.TrimSuffix(line, "\n"))
	}
}

// objectID says whether s is a SHA-1 or SHA-256 in hexadecimal. git reads capitals, too; it writes none.
func objectID(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, digits+lowers[:6]) == ""
}

func zeroID(s string) bool { return strings.Trim(s, "0") == "" }

// validRef judges a full ref name by the rules of git-check-ref-format(1).
func validRef(ref string) bool {
	if len(ref) > maxRefName || !strings.HasPrefix(ref, "refs/") || strings.Contains(ref, "..") || strings.Contains(ref, "@{") || strings.HasSuffix(ref, ".") {
		return false
	}
	for i := range len(ref) {
		if ref[i] <= ' ' || ref[i] == 0x7f || strings.IndexByte(`~^:?*[\`, ref[i]) >= 0 {
			return false
		}
	}
	for part := range strings.SplitSeq(ref, "/") {
		if part == "" || part[0] == '.' || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// matchRef says whether a full ref name matches a glob of Rule.PushRefs. A short glob is one of branches. "*" stands for any number
// of bytes, slashes among them, as in a refspec.
func matchRef(glob, ref string) bool {
	if !strings.HasPrefix(glob, "refs/") {
		glob = "refs/heads/" + glob
	}
	parts := strings.Split(glob, "*")
	if len(parts) == 1 {
		return glob == ref
	}
	last := len(parts) - 1
	rest, found := strings.CutPrefix(ref, parts[0])
	if !found || !strings.HasSuffix(rest, parts[last]) {
		return false
	}
	rest = strings.TrimSuffix(rest, parts[last])
	for _, part := range parts[1:last] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return true
}
