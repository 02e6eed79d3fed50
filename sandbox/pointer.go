package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// slot is one place in a JSON document.
type slot struct {
	object map[string]any
	name   string
	array  []any
	index  int
}

func (s slot) get() any {
	if s.object != nil {
		return s.object[s.name]
	}
	return s.array[s.index]
}

func (s slot) set(v any) {
	if s.object != nil {
		s.object[s.name] = v
		return
	}
	s.array[s.index] = v
}

// locate follows a JSON pointer (RFC 6901 section 4) that is not the whole document.
func locate(document any, pointer string) (slot, error) {
	var at slot
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch node := document.(type) {
		case map[string]any:
			v, there := node[part]
			if !there {
				return slot{}, fmt.Errorf("there is nothing at %s", pointer)
			}
			at, document = slot{object: node, name: part}, v
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(node) || part != strconv.Itoa(i) {
				return slot{}, fmt.Errorf("there is nothing at %s", pointer)
			}
			at, document = slot{array: node, index: i}, node[i]
		default:
			return slot{}, fmt.Errorf("there is nothing at %s", pointer)
		}
	}
	return at, nil
}

// disguise gives a copy of a credential file for the jail: with the placeholders at their pointers, and without what nobody said
// belongs into the jail. Such a file is a program's drawer, with tokens for other services beside the one that is meant. So only
// the objects on the way to a pointer stay, with their plain values and lists; a long text under the name of a credential goes.
func disguise(data []byte, placeholders map[string]string) ([]byte, error) {
	if whole, ok := placeholders[""]; ok && len(placeholders) == 1 {
		return []byte(whole), nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		return nil, errors.New("it is not JSON")
	}
	for pointer, placeholder := range placeholders {
		at, err := locate(document, pointer)
		if err != nil {
			return nil, err
		}
		at.set(given(placeholder))
		lastLong(at.object)
	}
	kept, _ := prune(document)
	out, err := json.MarshalIndent(plain(kept), "", "  ")
	return append(out, '\n'), err
}

// lastLong moves the time at which a token runs out, which stands beside it, to 2100. The copy's placeholder does not run out: the door
// puts the token that the host's file has by then in its place. A program that reads here that its token is too old would ask for a
// new one by itself, and stop when it is refused.
func lastLong(object map[string]any) {
	const year2100 = 4102444800
	for _, name := range []string{"expiresAt", "expires_at", "expiry_date"} {
		n, ok := object[name].(json.Number)
		if !ok {
			continue
		}
		if at, err := n.Float64(); err == nil && at > 1e11 {
			object[name] = json.Number(strconv.Itoa(year2100 * 1000)) // in milliseconds
		} else if err == nil {
			object[name] = json.Number(strconv.Itoa(year2100))
		}
	}
}

// given is a placeholder while it stands in a document.
type given string

// prune takes out of objects what leads to no placeholder and is no plain value. The bool says whether v leads to one.
func prune(v any) (any, bool) {
	switch v := v.(type) {
	case given:
		return v, true
	case map[string]any:
		leads := false
		for name, e := range v {
			kept, to := prune(e)
			leads = leads || to
			if !to && !harmless(name, e) {
				delete(v, name)
				continue
			}
			v[name] = kept
		}
		return v, leads
	case []any:
		leads := false
		for i, e := range v {
			kept, to := prune(e)
			leads = leads || to
			v[i] = kept
			if !to && !harmless("", e) {
				v[i] = nil
			}
		}
		return v, leads
	}
	return v, false
}

// harmless says whether a value that leads to no placeholder may be in the jail.
func harmless(name string, v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return false
	case []any:
		for _, e := range v {
			if _, text := e.(string); !text && !harmless("", e) {
				return false
			}
		}
		return !secretName(name)
	case string:
		return !secretName(name) || len(v) < 16
	}
	return true
}

// plain turns placeholders into strings.
func plain(v any) any {
	switch v := v.(type) {
	case given:
		return string(v)
	case map[string]any:
		for name, e := range v {
			v[name] = plain(e)
		}
	case []any:
		for i, e := range v {
			v[i] = plain(e)
		}
	}
	return v
}
