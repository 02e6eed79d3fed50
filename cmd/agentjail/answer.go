package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf16"
)

// answer prints v on standard output as indented JSON.
func (a *app) answer(v any) error {
	text, err := indented(v)
	if err != nil {
		return err
	}
	return writeJSON(a.Out, text)
}

// indented is v as JSON that people read too: & stays &, for no browser gets it.
func indented(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

// writeJSON writes JSON text in ASCII alone. JSON lets every character from U+0080 on stand for itself, among them the 8-bit forms
// of terminal escapes and characters that reorder a line; \u escapes mean the same to every reader of JSON.
func writeJSON(w io.Writer, text []byte) error {
	var b bytes.Buffer
	for _, r := range string(text) {
		switch {
		case r == 0x7f || r >= 0x80 && r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		case r >= 0x10000:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			b.WriteRune(r)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}
