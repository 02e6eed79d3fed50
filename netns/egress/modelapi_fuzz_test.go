package egress

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"testing"
)

// FuzzStrictJSON holds strictJSON against encoding/json: what it takes means the same there, and writing that and reading it again
// changes nothing.
func FuzzStrictJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0.5e3,"\u00e9",null,true,{}]}`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`, `"\ud800"`, `{"\ud800":1}`, `{"a\u0000b":1}`, "\ufeff{}", `[1,]`, `{} x`, ` [[[[]]]] `} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := strictJSON(data)
		if err != nil {
			return
		}
		var want any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("%q is taken; encoding/json: %v", data, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: %v, encoding/json %v", data, got, want)
		}
		if names(got) != bytes.Count(stripped(data), []byte(":")) {
			t.Fatalf("%q: a name was lost", data)
		}
	})
}

// names counts the names of all objects.
func names(v any) (n int) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += names(e)
		}
	case map[string]any:
		for _, e := range v {
			n += 1 + names(e)
		}
	}
	return n
}

// stripped takes the strings out of a valid JSON text.
func stripped(data []byte) (out []byte) {
	in := false
	for i := 0; i < len(data); i++ {
		switch {
		case in && data[i] == '\\':
			i++
		case data[i] == '"':
			in = !in
		case !in:
			out = append(out, data[i])
		}
	}
	return out
}

// FuzzJudgeAPI: no body makes a judge panic, and one that is allowed goes on byte for byte.
func FuzzJudgeAPI(f *testing.F) {
	for _, s := range []string{
		`{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"x"}}]}],"tools":[{"type":"web_fetch_20260209"}]}`,
		`{"store":false,"input":[{"type":"message","content":[{"type":"input_image","image_url":"data:,x"}]}],"tools":[{"type":"mcp"}]}`,
		`{"contents":[{"parts":[{"file_data":{"fileUri":"x"}}]}],"tools":[{"urlContext":{}}]}`, `{"query":"query{a}"}`, `{}`, `[]`, `null`, `7`,
	} {
		f.Add(s)
	}
	lines := map[string]string{
		"anthropic": "POST /v1/messages", "openai": "POST /v1/responses", "gemini": "POST /v1beta/models/m:generateContent", "github": "POST /graphql",
	}
	f.Fuzz(func(t *testing.T, body string) {
		if body == "" {
			return
		}
		for api, line := range lines {
			req := apiRequest(line, body)
			if judgeAPI(&Rule{API: api}, req, newBodies()) != nil {
				continue
			}
			if sent, err := io.ReadAll(req.Body); err != nil || string(sent) != body {
				t.Fatalf("%s: %q, %v is sent", api, sent, err)
			}
		}
	})
}

// FuzzOnlyQueries: a document is judged as its definitions are, so a mutation behind or before any document that is taken is
// refused.
func FuzzOnlyQueries(f *testing.F) {
	for _, s := range []string{`{a}`, `query Q($a:I={b:1}){a(b:"}")}`, "#x\n{a}", `{a(b:"""\"""}""")}`, `"d" query{a}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if onlyQueries(text) != nil {
			return
		}
		if onlyQueries(text+"\nmutation{x}") == nil || onlyQueries("mutation{x}\n"+text) == nil {
			t.Fatalf("%q hides a mutation", text)
		}
		if err := onlyQueries(text + "\nquery{x}"); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
