package egress

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
)

// maxAsked is how much of a body is looked at for credentials before any of it is sent.
const maxAsked = 64 << 10

// judgeBody refuses a credential of somebody else's in a form, or in the outer two objects of a JSON text: deeper down stands what a
// request is about, and not who asks. Only what a server reads as such by its type is read, and the beginning of it alone; a body that
// the API's own judge has read is one that holds no credential.
func (e *errand) judgeBody(req *http.Request) *refusal {
	if req.Body == nil || req.Body == http.NoBody || e.target.rule != nil && e.target.rule.API != "" {
		return nil
	}
	var readers []func(text []byte, ask func(name, value string))
	for _, kind := range req.Header["Content-Type"] {
		kind, params, _ := mime.ParseMediaType(kind) // of a bad parameter the type is given all the same
		switch {
		case kind == "application/x-www-form-urlencoded":
			readers = append(readers, formFields)
		case kind == "multipart/form-data":
			readers = append(readers, partsBetween(params["boundary"]))
		case kind == "application/json", strings.HasSuffix(kind, "+json"):
			readers = append(readers, jsonFields)
		}
	}
	if len(readers) == 0 {
		return nil
	}
	body := req.Body
	text, err := io.ReadAll(io.LimitReader(body, maxAsked))
	var why *refusal
	if errors.As(err, &why) { // of a gate that saw it on the way
		return why
	}
	rest := io.Reader(body)
	if err != nil {
		rest = broken{err}
	}
	req.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(text), rest), body}
	found := ""
	for _, fields := range readers {
		fields(text, func(name, value string) {
			if e.judge(value, func(*guarded) bool { return false }).kind == foreign {
				found = name
			}
		})
	}
	if found != "" {
		return e.foreign("body field " + bounded(found))
	}
	return nil
}

// broken gives the error with which a body ended.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// formFields asks about the fields of a form that are credentials' by their names.
func formFields(text []byte, ask func(name, value string)) {
	for pair := range strings.FieldsFuncSeq(string(text), func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		if name = unescape(name); isFormCarrier(name) {
			ask(name, unescape(value))
		}
	}
}

// isFormCarrier knows user[password] as well.
func isFormCarrier(name string) bool {
	return slices.ContainsFunc(strings.FieldsFunc(name, func(c rune) bool { return c == '[' || c == ']' }), isQueryCarrier)
}

// partsBetween does it for a form in parts (RFC 7578).
func partsBetween(boundary string) func(text []byte, ask func(name, value string)) {
	return func(text []byte, ask func(name, value string)) {
		parts := multipart.NewReader(bytes.NewReader(text), boundary)
		for part, err := parts.NextRawPart(); err == nil; part, err = parts.NextRawPart() {
			value, _ := io.ReadAll(part) // as much of it as there is
			if name := part.FormName(); part.FileName() == "" && isFormCarrier(name) {
				ask(name, string(value))
			}
		}
	}
}

// jsonFields asks about the strings of the outer two objects that are credentials' by their names. What stands in a list is not looked
// at, unless the list is all there is.
func jsonFields(text []byte, ask func(name, value string)) {
	tokens := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	var open []json.Delim
	name, named := "", false // of the value that comes next
	for {
		token, err := tokens.Token()
		if err != nil { // the text has ended, or is none
			return
		}
		inObject := len(open) > 0 && open[len(open)-1] == '{'
		switch t := token.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				open = append(open, t)
			} else {
				open = open[:len(open)-1]
			}
			named = false
			continue
		case string:
			if inObject && !named {
				name, named = t, true
				continue
			}
			outer := len(open) <= 2 && !slices.Contains(open[min(1, len(open)):], '[')
			outer = outer || len(open) == 3 && open[0] == '[' && open[1] == '{' && open[2] == '{'
			if named && outer && isCredential(strings.ToLower(strings.ReplaceAll(name, "_", "-"))) {
				ask(name, t)
			}
		}
		named = false
	}
}
