package egress

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// maxAsked is how much of a body is looked at for credentials, before any of it is sent if its type is known.
const maxAsked = 64 << 10

// judgeBody refuses a credential of somebody else's in a form, or in the outer two objects of a JSON text: deeper down stands what a
// request is about, and not who asks. Only what a server reads as such by its type is read, and the beginning of it alone; a body that
// the API's own judge has read is one that holds no credential.
func (e *errand) judgeBody(req *http.Request) *refusal {
	if req.Body == nil || req.Body == http.NoBody || e.target.rule != nil && e.target.rule.API != "" {
		return nil
	}
	c := contentOf(req.Header)
	var readers []func(text []byte, ask func(name, value string))
	if c.form {
		readers = append(readers, formFields)
	}
	if c.parts {
		readers = append(readers, partFields)
	}
	if c.json {
		readers = append(readers, jsonFields)
	}
	if len(readers) == 0 {
		return nil
	}
	if c.charset != "" {
		return e.foreign("a body in charset " + bounded(c.charset))
	}
	judge := func(text []byte) *refusal {
		if c.json && !c.form && wideJSON(text) {
			return e.foreign("JSON that is not UTF-8")
		}
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
	body := req.Body
	if c.form && c.json { // no type: it may be anything, also a stream whose sender waits for an answer
		req.Body = &looked{ReadCloser: body, length: req.ContentLength, judge: judge, late: &e.late}
		return nil
	}
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
	return judge(text)
}

// looked is a body that is judged on its way, before it is whole or its beginning is.
type looked struct {
	io.ReadCloser
	length int64 // -1: not known
	text   []byte
	done   bool
	judge  func(text []byte) *refusal
	late   *atomic.Pointer[refusal]
}

func (b *looked) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.done {
		return n, err
	}
	b.text = append(b.text, p[:min(n, maxAsked-len(b.text))]...)
	if err == nil && len(b.text) < maxAsked && int64(len(b.text)) != b.length {
		return n, nil
	}
	text := b.text
	b.text, b.done = nil, true
	if why := b.judge(text); why != nil {
		b.late.Store(why)
		b.ReadCloser = struct {
			io.Reader
			io.Closer
		}{broken{why}, b.ReadCloser}
		return 0, why
	}
	return n, err
}

// broken gives the error with which a body ended.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// formFields asks about the fields of a form that are credentials' by their names.
func formFields(text []byte, ask func(name, value string)) {
	for pair := range strings.FieldsFuncSeq(string(text), func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		if isFormCarrier(name) {
			ask(name, unescape(value))
		}
	}
}

// wideJSON says whether a JSON text is UTF-16 or UTF-32, which readers tell by its first bytes (RFC 4627 section 3).
func wideJSON(text []byte) bool {
	return bytes.IndexByte(text[:min(4, len(text))], 0) >= 0 || bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff"))
}

// isFormCarrier knows user[password] as well.
func isFormCarrier(name string) bool {
	_, parts := field(name)
	return isQueryCarrier(name) || slices.ContainsFunc(parts, isQueryCarrier)
}

// partFields does it for a form in parts (RFC 7578), by its lines alone: where a boundary is, each server says in its own way.
func partFields(text []byte, ask func(name, value string)) {
	text = bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
	var names partNames
	for i, c := range text {
		if name := names.take(c); name != "" && isFormCarrier(name) && namesPart(text, i) {
			_, value, _ := bytes.Cut(text[i:], []byte("\n\n"))
			value, _, _ = bytes.Cut(value, []byte("\n--"))
			ask(name, string(value))
		}
	}
}

// namesPart says whether text[i] stands in a Content-Disposition, folded or not, and not in that of a file.
func namesPart(text []byte, i int) bool {
	start := bytes.LastIndexByte(text[:i], '\n') + 1
	for start > 0 && (text[start] == ' ' || text[start] == '\t') {
		start = bytes.LastIndexByte(text[:start-1], '\n') + 1
	}
	line, _, _ := bytes.Cut(text[start:], []byte("\n"))
	name, value, _ := strings.Cut(string(line), ":")
	_, params, err := mime.ParseMediaType(value)
	return strings.EqualFold(strings.TrimSpace(name), "content-disposition") && (err != nil || params["filename"] == "")
}

// jsonFields asks about the strings of the outer two objects that are credentials' by their names. What stands in a list is not looked
// at, unless the list is all there is, or such a string's place.
func jsonFields(text []byte, ask func(name, value string)) {
	tokens := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
	var open []json.Delim
	var lists []string       // the credential's name that the list open at this depth belongs to, or ""
	name, named := "", false // of the value that comes next
	for {
		token, err := tokens.Token()
		if err != nil { // the text has ended, or is none
			return
		}
		inObject := len(open) > 0 && open[len(open)-1] == '{'
		outer := len(open) <= 2 && !slices.Contains(open[min(1, len(open)):], '[')
		outer = outer || len(open) == 3 && open[0] == '[' && open[1] == '{' && open[2] == '{'
		credential := "" // whose value this is
		if whole, _ := field(name); named && outer && isCredential(strings.ReplaceAll(whole, "_", "-")) {
			credential = name
		} else if len(open) > 0 && !inObject {
			credential = lists[len(lists)-1]
		}
		switch t := token.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				if t == '{' {
					credential = ""
				}
				open, lists = append(open, t), append(lists, credential)
			} else {
				open, lists = open[:len(open)-1], lists[:len(lists)-1]
			}
		case string:
			if inObject && !named {
				name, named = t, true
				continue
			}
			if credential != "" {
				ask(credential, t)
			}
		}
		named = false
	}
}
