package egress

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// A model API is more than a model: it stores files, runs batches, administers accounts, and fetches, searches and runs code for
// whoever asks. A jail that may talk to a model needs none of that, and an agent that was turned can use each to carry data out or
// instructions in: the provider's address is not the jail's, so no wall of the jail sees what it fetches. A rule's API says what
// is allowed instead: the calls of a table, with bodies that ask for nothing that the provider would do beyond answering.
//
// What is not in a table is refused: an endpoint, a tool, a kind of content, a field of the request. ServerTools switches single
// ones on. The words are the same for every API:
//
//	web_search      the provider searches the web
//	web_fetch       the provider fetches pages
//	url_sources     the provider fetches an image or document that the request names by URL
//	code_execution  the provider runs code, on a machine that is not the jail
//	files           content that was stored at the provider before
//	file_search     a search in what was stored
//	mcp             the provider connects to MCP servers, and to services that it calls connectors
//	image_generation, maps, computer_use, advisor   tools of those names
//	store           the provider keeps the conversation for later requests
//	background      the provider goes on when nobody listens

// call is one request that an API allows.
type call struct {
	method string // "GET" stands for HEAD, too
	path   string // glob, as in Rule.Paths
	body   judge  // nil: the request has none
	opaque bool   // the body is not JSON, and another judge's to read
}

func getCall(path string) call { return call{method: http.MethodGet, path: path} }
func postCall(path string, body judge) call {
	return call{method: http.MethodPost, path: path, body: body}
}

// judge says what of a body is not allowed, or nil.
type judge func(body any, on serverTools) error

// serverTools are those that a rule has switched on.
type serverTools []string

func (on serverTools) has(tool string) bool { return slices.Contains(on, tool) }

// need is nil when the tool is on, and else what must be said of a request that uses it.
func (on serverTools) need(tool, what string) error {
	if on.has(tool) {
		return nil
	}
	return &serverSide{tool: tool, what: what}
}

// serverSide is something that the provider would do, and that the rule has not switched on.
type serverSide struct{ tool, what string }

func (s *serverSide) Error() string { return s.what + " makes the provider act (" + s.tool + ")" }

// judgeAPI says why the rule's API does not allow a request, or nil. It reads the body of a call that has one, at most maxBody
// bytes of it where there is room, and puts it back: nothing of a body is sent before all of it was judged.
func judgeAPI(r *Rule, req *http.Request, room *bodies) *refusal {
	var calls []call
	switch r.API {
	case "":
		return nil
	case "anthropic":
		calls = anthropicCalls()
	case "openai":
		calls = openaiCalls()
		if r.Host == "chatgpt.com" {
			calls = chatgptCalls()
		}
	case "gemini":
		calls = geminiCalls()
	case "github":
		calls = githubCalls()
	default:
		return apiRefusal(fmt.Errorf("api %q is not known", r.API))
	}
	c, err := findCall(calls, req)
	if err == nil {
		err = checkAPIHeader(r, req)
	}
	if err == nil {
		err = c.judgeBody(req, r.ServerTools, room)
	}
	if err != nil {
		return apiRefusal(err)
	}
	return nil
}

// apiRefusal words what was found. Where one word in the rule would allow it, it says so.
func apiRefusal(err error) *refusal {
	if a := asAmbiguous(err); a != nil { // the body broke the rules of HTTP
		return &refusal{reason: a.reason, detail: a.detail}
	}
	if errors.Is(err, errNoRoom) {
		return &refusal{reason: Busy, detail: err.Error()}
	}
	why := &refusal{reason: ModelAPI, detail: err.Error(), fix: "what the rule's api allows is in the manual"}
	var s *serverSide
	if errors.As(err, &s) {
		why.fix = fmt.Sprintf("to allow what needs it, add %q to the rule's server_tools", s.tool)
	}
	return why
}

// findCall gives the call that the request is.
func findCall(calls []call, req *http.Request) (*call, error) {
	path, ok := canonicalPath(req.URL.EscapedPath())
	if !ok {
		return nil, errors.New("path that can be read in two ways")
	}
	method := req.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for i := range calls {
		if c := &calls[i]; c.method == method && matchPath(c.path, path) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%s %s is not one of the API's calls that are allowed", req.Method, bounded(path))
}

// judgeBody judges the body of a request and puts it back whole.
func (c *call) judgeBody(req *http.Request, on serverTools, room *bodies) error {
	if c.opaque {
		return nil
	}
	if c.body == nil {
		if req.ContentLength != 0 && req.Body != nil && req.Body != http.NoBody {
			return errors.New("a body where the call has none")
		}
		return nil
	}
	if err := checkJSONHeader(req.Header); err != nil {
		return err
	}
	if req.ContentLength > maxBody {
		return fmt.Errorf("body of %d bytes; at most %d are judged", req.ContentLength, maxBody)
	}
	held, data, err := room.hold(req)
	if err != nil {
		return err
	}
	if err := room.judge(req.Context(), data, func(body any) error { return c.body(body, on) }); err != nil {
		held.release()
		return err
	}
	// What was judged is what is sent: these bytes, in one length, and no trailer.
	req.Body = held
	req.ContentLength, req.TransferEncoding, req.Trailer = int64(len(data)), nil, nil
	req.Header.Set("Content-Length", strconv.Itoa(len(data)))
	req.Header.Del("Trailer")
	return nil
}

// checkJSONHeader holds that the server reads the body as it was judged: as JSON in UTF-8, in no coding.
func checkJSONHeader(h http.Header) error {
	types := h.Values("Content-Type")
	if len(types) != 1 {
		return errors.New("one Content-Type is needed")
	}
	kind, params, err := mime.ParseMediaType(types[0])
	if err != nil || kind != "application/json" {
		return fmt.Errorf("Content-Type %s is not application/json", strconv.Quote(bounded(types[0])))
	}
	for name, v := range params {
		if name == "charset" && !strings.EqualFold(v, "utf-8") {
			return fmt.Errorf("charset %s is not UTF-8", strconv.Quote(bounded(v)))
		}
	}
	for _, v := range h.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(v), "identity") {
			return fmt.Errorf("Content-Encoding %s: a body that is coded is not judged", strconv.Quote(bounded(v)))
		}
	}
	return nil
}

// The steps that judges are made of. A path in their errors is where in the body something stands.

// fields judges an object: each of its names must be in the table, and what the table has for it is asked about the value; nil
// takes any value.
func fields(v any, where string, table map[string]func(v any, where string) error) error {
	object, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is no object", where)
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		value := object[name]
		check, known := table[name]
		if !known {
			return fmt.Errorf("%s.%s is not known", where, bounded(name))
		}
		if check == nil || value == nil { // null is how a client says that it does not say
			continue
		}
		if err := check(value, where+"."+name); err != nil {
			return err
		}
	}
	return nil
}

// each judges the elements of an array.
func each(v any, where string, check func(v any, where string) error) error {
	list, ok := v.([]any)
	if !ok {
		return fmt.Errorf("%s is no array", where)
	}
	for i, e := range list {
		if err := check(e, fmt.Sprintf("%s[%d]", where, i)); err != nil {
			return err
		}
	}
	return nil
}

// stringOr takes a string, which no API reads as anything but text, and judges the elements of an array.
func stringOr(check func(v any, where string) error) func(v any, where string) error {
	return func(v any, where string) error {
		if _, ok := v.(string); ok {
			return nil
		}
		return each(v, where, check)
	}
}

// kindOf gives the object and its "type", "" when it has none. A type that is no string is an error.
func kindOf(v any, where string) (object map[string]any, kind string, err error) {
	object, ok := v.(map[string]any)
	if !ok {
		return nil, "", fmt.Errorf("%s is no object", where)
	}
	if t, said := object["type"]; said {
		if kind, ok = t.(string); !ok {
			return nil, "", fmt.Errorf("%s.type is no string", where)
		}
	}
	for name := range object {
		if name != strings.ToLower(name) {
			return nil, "", fmt.Errorf("%s.%s: the API's names have no capitals", where, bounded(name)) // a reader that ignores case would take it
		}
	}
	return object, kind, nil
}

// inline takes a URL that holds its data itself (RFC 2397): nobody fetches it.
func inline(v any, where string, on serverTools) error {
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("%s is no string", where)
	}
	if strings.HasPrefix(s, "data:") {
		return nil
	}
	return on.need("url_sources", where)
}
