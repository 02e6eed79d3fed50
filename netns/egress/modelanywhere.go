package egress

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// anywhere judges what makes a provider act by its name alone, at whatever depth of a body it stands. The judges of single fields say
// what a body may consist of; some of those fields are objects that grow with every version of an API, and what is handed on in one of
// them (a fallback's tools, the tools that a search found) acts as it would at the top.
type anywhere struct {
	by     map[string]func(v any, where string) error // fields, in small letters
	kinds  map[string]func(where string) error        // objects of these types
	opaque []string                                   // fields that hold what the user, a tool or a schema says: names in there mean nothing
}

func (a *anywhere) judge(v any, where string) error {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			if err := a.judge(e, fmt.Sprintf("%s[%d]", where, i)); err != nil {
				return err
			}
		}
	case map[string]any:
		if kind, ok := v["type"].(string); ok && a.kinds[kind] != nil {
			if err := a.kinds[kind](where); err != nil {
				return err
			}
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			value, here, plain := v[name], where+"."+bounded(name), strings.ToLower(name)
			if check := a.by[plain]; check != nil && value != nil {
				if err := check(value, here); err != nil {
					return err
				}
			}
			if slices.Contains(a.opaque, plain) {
				continue
			}
			if err := a.judge(value, here); err != nil {
				return err
			}
		}
	}
	return nil
}

// plainModel takes the name of a model that answers from what it was sent. Those that search before each answer say so in their names
// (gpt-4o-search-preview, gpt-5-search-api, o3-deep-research).
func (on serverTools) plainModel(v any, where string) error {
	name, ok := v.(string)
	if !ok {
		return fmt.Errorf("%s is no string", where)
	}
	if strings.Contains(strings.ToLower(name), "search") {
		return on.need("web_search", where+" "+bounded(name))
	}
	return nil
}

// inlineData takes data that stands there itself, with or without "data:" in front, and no address of it.
func (on serverTools) inlineData(v any, where string) error {
	if s, ok := v.(string); ok && strings.Contains(s[:min(len(s), maxText)], ":") {
		return inline(v, where, on)
	}
	return nil
}

// inlineURL is inline for the two shapes in which OpenAI's bodies have URLs.
func (on serverTools) inlineURL(v any, where string) error {
	if object, ok := v.(map[string]any); ok { // of a completion
		v = object["url"]
	}
	return inline(v, where, on)
}
