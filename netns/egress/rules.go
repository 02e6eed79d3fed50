package egress

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// inspect says whether the rule needs the door to see requests.
func (r *Rule) inspect() bool { return r.TLS == "inspect" || r.judges() }

// judges says whether the rule says anything about requests.
func (r *Rule) judges() bool {
	return len(r.Methods) > 0 || len(r.Paths) > 0 || r.Git != "" || len(r.PushRefs) > 0 ||
		r.MaxRequest != 0 || r.MaxUpload != 0 || r.API != "" || len(r.ServerTools) > 0
}

// checkRequests judges what a rule says about requests. A word that is not understood is an error: it must not be left out in silence.
func (r *Rule) checkRequests() error {
	switch {
	case !slices.Contains([]string{"", "tunnel", "inspect"}, r.TLS):
		return fmt.Errorf("tls %q is neither tunnel nor inspect", r.TLS)
	case r.TLS == "tunnel" && r.judges():
		return errors.New("tls \"tunnel\" hides the requests that the rule's other keys judge")
	case !slices.Contains([]string{"", "fetch", "push", "none"}, r.Git):
		return fmt.Errorf("git %q is none of fetch, push and none", r.Git)
	case len(r.PushRefs) > 0 && r.Git != "push":
		return errors.New("push_refs without git = \"push\"")
	case !slices.Contains([]string{"", "anthropic", "openai", "gemini", "github"}, r.API):
		return fmt.Errorf("api %q is not one that the door knows", r.API)
	case len(r.ServerTools) > 0 && r.API == "":
		return errors.New("server_tools without api")
	case r.MaxRequest < 0 || r.MaxUpload < 0:
		return errors.New("a negative size")
	}
	for _, m := range r.Methods {
		if err := checkMethod(m); err != nil {
			return err
		}
	}
	for _, p := range r.Paths {
		if err := checkPath(p); err != nil {
			return err
		}
	}
	return nil
}

// judgeRequest says why the rule's Methods and Paths do not allow a request, or nil. path and query are as sent.
func (r *Rule) judgeRequest(method, path, query string, header http.Header) *refusal {
	if why := r.judgeMethod(method, query, header); why != nil {
		return why
	}
	return r.judgePath(path, header)
}

func (r *Rule) judgeMethod(method, query string, header http.Header) *refusal {
	if len(r.Methods) == 0 {
		return nil
	}
	if !slices.Contains(r.Methods, method) {
		return &refusal{
			reason: Method, detail: method,
			fix: fmt.Sprintf("it allows %s; to allow this, add the method to its methods", strings.Join(r.Methods, ", ")),
		}
	}
	if len(header["Content-Type"]) > 1 { // one reader would see a form there, and the other none
		return overridden("behind two content types")
	}
	if c := contentOf(header); (c.form || c.parts) && c.charset != "" {
		return overridden("behind charset " + bounded(c.charset))
	}
	if why := r.judgeMethodFields(header); why != nil {
		return why
	}
	for pair := range strings.FieldsFuncSeq(query, func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		value = unescape(value)
		if overridesMethodIn(name, value) && !slices.Contains(r.Methods, strings.ToUpper(value)) {
			return overridden(pair)
		}
	}
	return nil
}

// judgeMethodFields judges the fields that servers take the method from.
func (r *Rule) judgeMethodFields(fields http.Header) *refusal {
	for name, values := range fields {
		if !overridesMethod(name) {
			continue
		}
		for _, v := range values {
			for m := range strings.SplitSeq(v, ",") {
				if !slices.Contains(r.Methods, strings.ToUpper(strings.TrimSpace(m))) {
					return overridden(name + ": " + v)
				}
			}
		}
	}
	return nil
}

// judgeTrailer judges the fields behind a body: some servers take them for header fields. Those that a header field would be taken out
// for are taken out.
func (r *Rule) judgeTrailer(trailer http.Header) *refusal {
	if fieldsSize(trailer) > maxTrail {
		return &refusal{reason: BadRequest, detail: errTooLong("trailer section", maxTrail).Error()}
	}
	if len(r.Methods) > 0 || r.Git != "" {
		if why := r.judgeMethodFields(trailer); why != nil {
			return why
		}
	}
	if len(r.Paths) > 0 {
		if why := judgePathFields(trailer); why != nil {
			return why
		}
	}
	for name := range trailer {
		if slices.Contains(hostOverrides(), spelled(name)) {
			delete(trailer, name)
		}
	}
	return nil
}

func (r *Rule) judgePath(raw string, header http.Header) *refusal {
	if len(r.Paths) == 0 {
		return nil
	}
	path, ok := canonicalPath(raw)
	if !ok {
		return &refusal{reason: Path, detail: "path that can be read in two ways: " + raw, fix: "spell the path plainly"}
	}
	if !slices.ContainsFunc(r.Paths, func(glob string) bool { return matchPath(glob, path) }) {
		return &refusal{
			reason: Path, detail: path,
			fix: fmt.Sprintf("it allows %s; to allow this, add the path to its paths", strings.Join(r.Paths, ", ")),
		}
	}
	return judgePathFields(header)
}

// judgePathFields judges the fields that servers take the path from.
func judgePathFields(fields http.Header) *refusal {
	for name := range fields {
		if overridesPath(name) {
			return &refusal{reason: Path, detail: "path override " + name, fix: "ask for the path itself"}
		}
	}
	return nil
}
