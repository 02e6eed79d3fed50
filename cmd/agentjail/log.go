package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/agentjail/agentjail/sandbox"
)

func (a *app) logCommand() *subcommand {
	return &subcommand{
		name: "log", path: "agentjail log", args: "[ID|NAME]", usage: "show what a session did and what it was refused; default: the newest",
		example: []string{
			"agentjail log # the newest session",
			"agentjail log -f # the running one, until it ends",
			"agentjail log --json build | jq 'select(.event == \"net.deny\")' # one that --name build has named",
		},
		groups: []group{{"Flags", []*option{
			{name: "follow", short: "f", usage: "wait for more until the session ends", set: onOff(&a.flags.out.follow)},
			a.flags.jsonFlag(),
		}}},
		action: func(ctx context.Context, rest []string) error {
			id, err := a.sessionID("log", rest)
			if err != nil {
				return err
			}
			host, err := sandbox.Probe(ctx)
			if err != nil {
				return err
			}
			f, err := openRecord(host.StateDir, id, auditFile)
			if err != nil {
				return err
			}
			defer f.Close()
			return a.printLog(f)
		},
	}
}

// sessionID takes the one operand of log and report.
func (a *app) sessionID(sub string, rest []string) (string, error) {
	switch args := a.words.operands(rest); len(args) {
	case 0:
		return "", nil
	case 1:
		return args[0], nil
	default:
		return "", usage("agentjail "+quote(sub, args[0]), "%s takes one session", sub)
	}
}

func (a *app) printLog(f *os.File) error {
	var in io.Reader = f
	if a.flags.out.follow {
		t, err := follow(f)
		if err != nil {
			return err
		}
		defer t.close()
		in = t
	}
	for lines := bufio.NewReader(in); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if a.flags.out.follow {
				a.ui.warn("the session ended without a word: its launcher was killed")
			}
			return nil // a last line without its end was cut off by a kill -9, or is being written
		}
		if err != nil {
			return err
		}
		event, err := a.printEvent(line)
		if err != nil || a.flags.out.follow && event == "session.end" {
			return err
		}
	}
}

// printEvent prints one line of the audit log and says which event it was.
func (a *app) printEvent(line []byte) (string, error) {
	var fields map[string]any
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil {
		_, err = fmt.Fprintln(a.Out, printable(strings.TrimSpace(string(line))))
		return "", err
	}
	event, _ := fields["event"].(string)
	if a.flags.out.json {
		return event, writeJSON(a.Out, line)
	}
	stamp, _ := fields["time"].(string)
	if t, err := time.Parse(time.RFC3339Nano, stamp); err == nil {
		stamp = t.Local().Format("15:04:05.000")
	}
	text := printable(stamp) + " " + printable(event)
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		switch key {
		case "time", "event", "seq", "session":
		default:
			text += " " + printable(key) + "=" + value(fields[key])
		}
	}
	_, err := fmt.Fprintln(a.Out, text)
	return event, err
}

// value shows one field so that it ends where it seems to end.
func value(v any) string {
	s, ok := v.(string)
	if !ok {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false) // a person reads it
		if err := e.Encode(v); err != nil {
			return "?"
		}
		return printable(strings.TrimSuffix(b.String(), "\n"))
	}
	if s == "" || strings.ContainsAny(s, " \t\"'=\\") || printable(s) != s {
		return fmt.Sprintf("%+q", s)
	}
	return s
}
