package egress

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of a body that is judged. The bytes are what the largest of the APIs takes (Anthropic: 32 MB); the others keep what the
// jail can make the door hold at once to a small multiple of them.
const (
	maxBody  = 32 << 20 // bytes
	maxDepth = 256      // arrays and objects in one another
	maxNodes = 1 << 19  // values
)

// strictJSON reads one JSON text (RFC 8259) that every reader reads alike. What a reader may take in two ways is refused: a name
// that stands twice in an object (the first counts, or the last, or both), a name with a NUL in it (a C string ends there), one
// that holds an unpaired surrogate, bytes that are not UTF-8, and anything behind the text. Numbers stay as they are written.
func strictJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("body is not UTF-8")
	}
	// Valid is the strict grammar; the decoder's tokens are not meant to find every fault.
	if !json.Valid(data) {
		return nil, errors.New("body is not JSON")
	}
	p := &jsonReader{tokens: json.NewDecoder(bytes.NewReader(data))}
	p.tokens.UseNumber()
	return p.value(0)
}

type jsonReader struct {
	tokens *json.Decoder
	nodes  int
}

func (p *jsonReader) value(depth int) (any, error) {
	if p.nodes++; p.nodes > maxNodes {
		return nil, fmt.Errorf("body holds more than %d values", maxNodes)
	}
	token, err := p.tokens.Token()
	if err != nil {
		return nil, fmt.Errorf("body is not JSON: %w", err)
	}
	open, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth == maxDepth {
		return nil, fmt.Errorf("body is nested deeper than %d", maxDepth)
	}
	if open == '[' {
		return p.array(depth)
	}
	return p.object(depth)
}

func (p *jsonReader) array(depth int) (any, error) {
	list := []any{}
	for p.tokens.More() {
		v, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := p.tokens.Token()
	return list, err
}

func (p *jsonReader) object(depth int) (any, error) {
	object := map[string]any{}
	for p.tokens.More() {
		token, err := p.tokens.Token()
		if err != nil {
			return nil, fmt.Errorf("body is not JSON: %w", err)
		}
		name := token.(string) // json.Valid has seen it
		if strings.ContainsAny(name, "\x00\ufffd") {
			return nil, fmt.Errorf("name %q can be read in two ways", bounded(name))
		}
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("name %q stands twice in one object", bounded(name))
		}
		if object[name], err = p.value(depth + 1); err != nil {
			return nil, err
		}
	}
	_, err := p.tokens.Token()
	return object, err
}
