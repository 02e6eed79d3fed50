package egress

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"
)

// disguiseClaims gives the middle part of a JWT with claims that say nothing of the account's owner: names stay, and times, what is true or
// false, and the claims of plainClaims; every other string and number becomes another of its shape. The length stays. What is no JSON
// object in base64 becomes another text.
func disguiseClaims(part string, random io.Reader) (string, error) {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || !json.Valid(text) {
		return reshape(part, alphabetOf(part), random)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	type level struct {
		object bool
		named  bool // a name was read, its value is next
	}
	var levels []level
	name, from := "", 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			return base64.RawURLEncoding.EncodeToString(text), nil
		}
		if err != nil {
			return "", err
		}
		// What stands between two tokens is none of the first bytes of one.
		from += bytes.IndexFunc(text[from:], func(r rune) bool { return !strings.ContainsRune(" \t\r\n:,", r) })
		piece := text[from:d.InputOffset()]
		from = int(d.InputOffset())
		top := len(levels) - 1
		if s, isString := token.(string); isString && top >= 0 && levels[top].object && !levels[top].named {
			name, levels[top].named = s, true
			continue
		}
		if top >= 0 {
			levels[top].named = false
		}
		switch token := token.(type) {
		case json.Delim:
			if token == '{' || token == '[' {
				levels = append(levels, level{object: token == '{'})
			} else {
				levels = levels[:top]
			}
		case string, json.Number:
			if err := disguiseClaim(name, token, piece, random); err != nil {
				return "", err
			}
		}
	}
}

// disguiseClaim changes one string or number where it stands.
func disguiseClaim(name string, value any, piece []byte, random io.Reader) error {
	kept, number := plainClaims(), false
	alphabet := alphabetOf("") // each of its class
	switch value := value.(type) {
	case string:
		if _, err := time.Parse(time.RFC3339, value); err == nil {
			return nil
		}
		if piece = piece[1 : len(piece)-1]; bytes.ContainsFunc(piece, func(r rune) bool { return r == '\\' || r > '~' }) {
			alphabet = func(byte) string { return lowers } // half of an escape is none
		}
	case json.Number:
		kept, number = timeClaims(), true
		if end := bytes.IndexAny(piece, "eE"); end >= 0 {
			piece = piece[:end]
		}
	}
	if slices.Contains(kept, name) {
		return nil
	}
	again, err := reshape(string(piece), alphabet, random)
	if err != nil {
		return err
	}
	copy(piece, again)
	if number { // JSON has no leading zeros
		if first := bytes.TrimPrefix(piece, []byte("-")); first[0] == '0' {
			first[0] = '1'
		}
	}
	return nil
}

// plainClaims are those that name a service or a right, and those of which Codex reads the account and its plan.
func plainClaims() []string {
	return []string{"iss", "aud", "azp", "client_id", "scope", "scp", "token_type", "chatgpt_account_id", "chatgpt_plan_type"}
}

// timeClaims are numbers that say when (RFC 7519 section 4.1).
func timeClaims() []string { return []string{"exp", "iat", "nbf", "auth_time", "pwd_auth_time"} }

// reshape gives s with each byte that has an alphabet replaced by one out of it.
func reshape(s string, alphabet func(c byte) string, random io.Reader) (string, error) {
	out := []byte(s)
	for i, c := range out {
		set := alphabet(c)
		if set == "" {
			continue
		}
		var err error
		if out[i], err = pick(set, random); err != nil {
			return "", err
		}
	}
	return string(out), nil
}
