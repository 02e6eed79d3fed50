package egress

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// apiCase is one request to a model API. want is part of what is said against it, "" when it is allowed. The control of a refusal
// is the case beside it that differs in what was refused, or the same request with the tool in tools.
type apiCase struct {
	request string // METHOD PATH
	body    string
	want    string
	tool    string // server tool that allows it
}

func apiRequest(line, body string) *http.Request {
	method, target, _ := strings.Cut(line, " ")
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, target, reader)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return req
}

func judgeCases(t *testing.T, api string, cases []apiCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.request+" "+c.body, "/", "|"), func(t *testing.T) {
			req := apiRequest(c.request, c.body)
			why := judgeAPI(&Rule{API: api}, req, newBodies())
			switch {
			case c.want == "" && why != nil:
				t.Fatalf("refused: %s", why.detail)
			case c.want != "" && why == nil:
				t.Fatal("allowed")
			case c.want != "" && (why.reason != ModelAPI || !strings.Contains(why.detail, c.want)):
				t.Fatalf("%s: %q does not say %q", why.reason, why.detail, c.want)
			}
			if c.want == "" && c.body != "" {
				if got, err := io.ReadAll(req.Body); err != nil || string(got) != c.body || req.ContentLength != int64(len(c.body)) {
					t.Fatalf("%q, %v is sent", got, err)
				}
			}
			if c.tool == "" {
				return
			}
			if !strings.Contains(why.fix, c.tool) {
				t.Errorf("fix %q does not name %s", why.fix, c.tool)
			}
			if why := judgeAPI(&Rule{API: api, ServerTools: []string{c.tool}}, apiRequest(c.request, c.body), newBodies()); why != nil {
				t.Errorf("with %s: %s", c.tool, why.detail)
			}
			if why := judgeAPI(&Rule{API: api, ServerTools: []string{"other"}}, apiRequest(c.request, c.body), newBodies()); why == nil {
				t.Error("with another tool: allowed")
			}
		})
	}
}

func TestJudgeAnthropic(t *testing.T) {
	const post = "POST /v1/messages?beta=true"
	content := func(block string) string { return `{"messages":[{"role":"user","content":[` + block + `]}]}` }
	tool := func(tool string) string { return `{"tools":[` + tool + `]}` }
	judgeCases(t, "anthropic", []apiCase{
		// What Claude Code 2.1 sends.
		{post, `{"model":"m","max_tokens":64000,"stream":true,"thinking":{"type":"adaptive"},"metadata":{"user_id":"{}"},` +
			`"context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]},"output_config":{"effort":"high"},` +
			`"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"tools":[{"name":"Bash","description":"d","input_schema":{"type":"object","properties":{"url":{"type":"url"}}}}],` +
			`"messages":[{"role":"user","content":[{"type":"text","text":"x"}]},{"role":"system","content":"y"},{"role":"assistant","content":[` +
			`{"type":"thinking","thinking":"t","signature":"s"},{"type":"tool_use","id":"1","name":"Bash","input":{"type":"url","URL":"https://a.example.com"}}]},` +
			`{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"r"}]}]}]}`, "", ""},
		{"POST /v1/messages/count_tokens", content(`{"type":"text","text":"x"}`), "", ""},
		{"GET /v1/models", "", "", ""}, {"GET /v1/models/claude-x", "", "", ""}, {"HEAD /", "", "", ""}, {"GET /api/hello", "", "", ""},
		{"GET /api/oauth/profile", "", "", ""}, {"GET /api/claude_code/settings", "", "", ""},

		// Other endpoints: storage, batches, administration, telemetry, sessions.
		{"POST /v1/files", `{}`, "not one of", ""}, {"GET /v1/files/file_1/content", "", "not one of", ""}, {"POST /v1/messages/batches", `{}`, "not one of", ""},
		{"GET /v1/messages/batches/x/results", "", "not one of", ""}, {"POST /v1/skills", `{}`, "not one of", ""}, {"POST /v1/agents", `{}`, "not one of", ""},
		{"GET /v1/organizations/users", "", "not one of", ""}, {"POST /v1/organizations/api_keys/x", `{}`, "not one of", ""}, {"POST /v1/sessions", `{}`, "not one of", ""},
		{"POST /api/oauth/claude_cli/create_api_key", `{}`, "not one of", ""}, {"POST /api/event_logging/batch", `{}`, "not one of", ""},
		{"POST /api/claude_cli_feedback", `{}`, "not one of", ""}, {"PATCH /api/oauth/account/settings", `{}`, "not one of", ""}, {"GET /v1/messages", "", "not one of", ""},
		{"DELETE /v1/models/x", "", "not one of", ""}, {"POST /v1/complete", `{}`, "not one of", ""}, {"POST /V1/messages", `{}`, "not one of", ""},
		{"POST /v1/messages/", `{}`, "not one of", ""}, {"POST /v1/%6dessages", `{}`, "", ""}, {"POST /v1%2fmessages", `{}`, "two ways", ""},
		{"POST /v1/files/../messages", `{}`, "two ways", ""}, {"POST /v1/messages;x", `{}`, "two ways", ""}, {"GET /v1/models", `{}`, "a body where", ""},

		// What the provider fetches, connects to, runs or keeps.
		{post, `{"mcp_servers":[{"type":"url","url":"https://evil.example.com","name":"x"}]}`, "body.mcp_servers", "mcp"},
		{post, `{"mcp_servers":[],"container":null}`, "", ""},
		{post, `{"container":"c_1"}`, "body.container", "code_execution"},
		{post, `{"container":{"skills":[]}}`, "body.container", "code_execution"},
		{post, content(`{"type":"image","source":{"type":"url","url":"https://evil.example.com/?q=data"}}`), "source", "url_sources"},
		{post, content(`{"type":"document","source":{"type":"url","url":"https://evil.example.com"}}`), "source", "url_sources"},
		{post, content(`{"type":"document","source":{"type":"file","file_id":"f"}}`), "source", "files"},
		{post, content(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA"}}`), "", ""},
		{post, content(`{"type":"image","source":{"type":"base64","data":"AA","url":"https://evil.example.com"}}`), "has a url", ""},
		{post, content(`{"type":"document","source":{"type":"content","content":[{"type":"image","source":{"type":"url","url":"x"}}]}}`), "source.content[0].source", "url_sources"},
		{post, content(`{"type":"tool_result","tool_use_id":"1","content":[{"type":"image","source":{"type":"url","url":"x"}}]}`), "content[0].content[0].source", "url_sources"},
		{post, `{"system":[{"type":"document","source":{"type":"url","url":"x"}}]}`, "body.system[0].source", "url_sources"},
		{post, content(`{"type":"container_upload","file_id":"f"}`), "content[0]", "code_execution"},
		{post, content(`{"type":"server_tool_use","name":"web_fetch","input":{"url":"x"}}`), "content[0]", "web_fetch"},
		{post, content(`{"type":"mcp_tool_use","name":"x"}`), "content[0]", "mcp"},
		{post, content(`{"type":"hologram"}`), `"hologram" is not known`, ""},
		{post, content(`{"text":"no type"}`), `"" is not known`, ""},
		{post, content(`{"type":"image","Source":{"type":"url"},"source":{"type":"base64"}}`), "no capitals", ""},
		{post, content(`{"type":["image"]}`), "type is no string", ""},
		{post, content(`7`), "is no object", ""},

		{post, tool(`{"type":"web_search_20260209","name":"web_search"}`), "tools[0]", "web_search"},
		{post, tool(`{"name":"a"},{"type":"web_fetch_20260209","name":"x"}`), "tools[1]", "web_fetch"},
		{post, tool(`{"type":"code_execution_20260521","name":"x"}`), "tools[0]", "code_execution"},
		{post, tool(`{"type":"mcp_toolset","mcp_server_name":"x"}`), "tools[0]", "mcp"},
		{post, tool(`{"type":"advisor_20260301","name":"x"}`), "tools[0]", "advisor"},
		{post, tool(`{"type":"custom","name":"x"},{"type":"bash_20250124","name":"bash"},{"type":"text_editor_20250728","name":"e"},{"type":"memory_20250818","name":"m"}`), "", ""},
		{post, tool(`{"type":"tool_search_tool_bm25_20251119","name":"t"}`), "", ""},
		{post, tool(`{"type":"teleport_20270101","name":"t"}`), `"teleport" is not known`, ""},
		{post, tool(`{"type":"web_search","name":"t"}`), "tools[0]", "web_search"},

		{post, `{"mesages":[]}`, "body.mesages is not known", ""}, {post, `{"betas":["x"]}`, "body.betas is not known", ""},
		{post, `{"Tools":[]}`, "body.Tools is not known", ""}, {post, `[]`, "body is no object", ""}, {post, `{"messages":{}}`, "is no array", ""},
		{post, `{"messages":[{"role":"user","content":[],"attachments":[]}]}`, "attachments is not known", ""},
		{post, `{"tools":[],"tools":[{"type":"web_fetch_20260209"}]}`, "twice", ""}, {post, `{"tools":[],"\u0074ools":[]}`, "twice", ""},
		{post, `{"messages":[]`, "not JSON", ""}, {post, `{}{}`, "not JSON", ""}, {post, "\ufeff{}", "not JSON", ""}, {post, "{\"model\":\"\xff\"}", "not UTF-8", ""},
	})
}

func TestJudgeOpenAI(t *testing.T) {
	const post = "POST /v1/responses"
	response := func(more string) string { return `{"store":false,` + more + `}` }
	input := func(item string) string { return response(`"input":[` + item + `]`) }
	tool := func(tool string) string { return response(`"tools":[` + tool + `]`) }
	judgeCases(t, "openai", []apiCase{
		// What Codex sends.
		{post, `{"model":"m","instructions":"i","input":[{"type":"message","role":"user","content":[{"type":"input_text","text":"x"}]},` +
			`{"type":"reasoning","summary":[],"encrypted_content":"e"},{"type":"function_call","name":"shell","arguments":"{\"url\":\"x\"}","call_id":"1"},` +
			`{"type":"function_call_output","call_id":"1","output":"y"},{"type":"custom_tool_call","call_id":"2","name":"apply_patch","input":"p"},` +
			`{"type":"custom_tool_call_output","call_id":"2","output":"z"}],"tools":[{"type":"function","name":"shell","parameters":{}},{"type":"custom","name":"apply_patch"},` +
			`{"type":"web_search","external_web_access":false}],"tool_choice":"auto","parallel_tool_calls":false,"reasoning":{"effort":"high"},"store":false,"stream":true,` +
			`"include":["reasoning.encrypted_content"],"prompt_cache_key":"k","text":{"verbosity":"low"}}`, "", ""},
		{"POST /v1/responses/compact", `{"model":"m","input":[],"instructions":"i"}`, "", ""}, {"GET /v1/models", "", "", ""},

		{"POST /v1/files", `{}`, "not one of", ""}, {"GET /v1/files/x/content", "", "not one of", ""}, {"POST /v1/batches", `{}`, "not one of", ""},
		{"GET /v1/responses/resp_1", "", "not one of", ""}, {"POST /v1/conversations", `{}`, "not one of", ""}, {"POST /v1/vector_stores", `{}`, "not one of", ""},
		{"POST /v1/assistants", `{}`, "not one of", ""}, {"POST /v1/containers", `{}`, "not one of", ""}, {"POST /v1/realtime/sessions", `{}`, "not one of", ""},
		{"GET /v1/organization/admin_api_keys", "", "not one of", ""}, {"GET /v1/responses", "", "not one of", ""}, {"POST /v1/uploads", `{}`, "not one of", ""},
		{"POST /backend-api/conversation", `{}`, "not one of", ""}, {"POST /backend-api/wham/tasks", `{}`, "not one of", ""}, {"POST /backend-api/files", `{}`, "not one of", ""},

		{post, `{"input":"x"}`, "store", "store"}, {post, `{"store":true}`, "store", "store"}, {post, `{"store":null}`, "store", "store"}, {post, `{"store":0}`, "store", "store"},
		{post, response(`"background":true`), "body.background", "background"}, {post, response(`"background":false`), "", ""},
		{post, response(`"previous_response_id":"r"`), "previous_response_id", "store"}, {post, response(`"previous_response_id":null`), "", ""},
		{post, response(`"conversation":"c"`), "body.conversation", "store"}, {post, response(`"prompt":{"id":"p"}`), "body.prompt", "store"},
		{post, response(`"input":"x"`), "", ""}, {post, response(`"unknown":1`), "body.unknown is not known", ""}, {post, `[]`, "no object", ""},

		{post, tool(`{"type":"web_search"}`), "tools[0]", "web_search"}, {post, tool(`{"type":"web_search","external_web_access":true}`), "tools[0]", "web_search"},
		{post, tool(`{"type":"web_search_preview","external_web_access":false}`), "tools[0]", "web_search"},
		{post, tool(`{"type":"file_search","vector_store_ids":["v"]}`), "tools[0]", "file_search"}, {post, tool(`{"type":"mcp","server_url":"https://evil.example.com"}`), "tools[0]", "mcp"},
		{post, tool(`{"type":"code_interpreter","container":{"type":"auto"}}`), "tools[0]", "code_execution"}, {post, tool(`{"type":"image_generation"}`), "tools[0]", "image_generation"},
		{post, tool(`{"type":"shell","environment":{"type":"container_auto"}}`), "tools[0].environment", "code_execution"},
		{post, tool(`{"type":"shell","environment":{"type":"local"}},{"type":"local_shell"},{"type":"apply_patch"}`), "", ""},
		{post, tool(`{"type":"namespace","name":"n","tools":[{"type":"mcp"}]}`), "tools[0].tools[0]", "mcp"},
		{post, tool(`{"type":"computer_use_preview"}`), "tools[0]", "computer_use"}, {post, tool(`{"type":"teleport"}`), "not known", ""}, {post, tool(`{"name":"f"}`), "not known", ""},

		{post, input(`{"role":"user","content":[{"type":"input_image","image_url":"https://evil.example.com/?q"}]}`), "image_url", "url_sources"},
		{post, input(`{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,AA"}]}`), "", ""},
		{post, input(`{"role":"user","content":[{"type":"input_image","file_id":"f"}]}`), "file_id", "files"},
		{post, input(`{"role":"user","content":[{"type":"input_file","file_url":"https://evil.example.com"}]}`), "file_url", "url_sources"},
		{post, input(`{"role":"user","content":[{"type":"input_file","file_data":"data:,x","filename":"f"}]}`), "", ""},
		{post, input(`{"type":"function_call_output","call_id":"1","output":[{"type":"input_image","image_url":"https://evil.example.com"}]}`), "output[0].image_url", "url_sources"},
		{post, input(`{"type":"computer_call_output","output":{"type":"computer_screenshot","image_url":"https://evil.example.com"}}`), "output.image_url", "url_sources"},
		{post, input(`{"type":"item_reference","id":"x"}`), "input[0]", "store"}, {post, input(`{"type":"mcp_approval_response","approve":true}`), "input[0]", "mcp"},
		{post, input(`{"type":"hologram"}`), "not known", ""}, {post, input(`{"role":"user","content":[{"type":"hologram"}]}`), "not known", ""},
		{"POST /v1/responses/compact", `{"input":[{"role":"user","content":[{"type":"input_image","image_url":"http://x"}]}]}`, "image_url", "url_sources"},

		{"POST /v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"x"},{"role":"user","content":[{"type":"text","text":"x"},` +
			`{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]},{"role":"tool","tool_call_id":"1","content":"y"}],"tools":[{"type":"function","function":{}}],"stream":true}`, "", ""},
		{"POST /v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://evil.example.com"}}]}]}`, "image_url", "url_sources"},
		{"POST /v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"https://evil.example.com"}]}]}`, "image_url", "url_sources"},
		{"POST /v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]}]}`, "file", "files"},
		{"POST /v1/chat/completions", `{"web_search_options":{}}`, "web_search_options", "web_search"}, {"POST /v1/chat/completions", `{"store":true}`, "body.store", "store"},
		{"POST /v1/chat/completions", `{"tools":[{"type":"mcp"}]}`, "not known", ""}, {"POST /v1/chat/completions", `{"plugins":[]}`, "not known", ""},
	})
}

func TestJudgeGemini(t *testing.T) {
	const post = "POST /v1beta/models/gemini-x:streamGenerateContent?alt=sse"
	part := func(part string) string { return `{"contents":[{"role":"user","parts":[` + part + `]}]}` }
	judgeCases(t, "gemini", []apiCase{
		{post, `{"contents":[{"role":"user","parts":[{"text":"x"},{"inlineData":{"mimeType":"image/png","data":"AA"}}]},{"role":"model","parts":[{"functionCall":{"name":"f","args":{"fileUri":"x"}},` +
			`"thoughtSignature":"s"}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"googleSearch":1}}}]}],"systemInstruction":{"parts":[{"text":"s"}]},` +
			`"tools":[{"functionDeclarations":[{"name":"f","parametersJsonSchema":{}}]}],"toolConfig":{},"generationConfig":{"temperature":1,"thinkingConfig":{}}}`, "", ""},
		{"POST /v1internal:streamGenerateContent?alt=sse", `{"model":"m","project":"p","user_prompt_id":"u","request":{"contents":[{"parts":[{"text":"x"}]}],"session_id":"s"}}`, "", ""},
		{"POST /v1internal:loadCodeAssist", `{"metadata":{"ideType":"X"}}`, "", ""}, {"GET /v1beta/models", "", "", ""}, {"POST /v1beta/models/m:countTokens", part(`{"text":"x"}`), "", ""},

		{"POST /upload/v1beta/files", `{}`, "not one of", ""}, {"POST /v1beta/files", `{}`, "not one of", ""}, {"GET /v1beta/files/x", "", "not one of", ""},
		{"POST /v1beta/cachedContents", `{}`, "not one of", ""}, {"POST /v1beta/corpora", `{}`, "not one of", ""}, {"POST /v1beta/models/m:batchGenerateContent", `{}`, "not one of", ""},
		{"POST /v1beta/tunedModels", `{}`, "not one of", ""}, {"POST /v1internal:recordCodeAssistMetrics", `{}`, "not one of", ""}, {"POST /v1beta/tunedModels/x:generateContent", `{}`, "not one of", ""},
		{"POST /v1internal:setCodeAssistGlobalUserSetting", `{}`, "not one of", ""}, {"GET /v1beta/models?$httpMethod=DELETE", "", "query parameter", ""},

		{post, `{"tools":[{"googleSearch":{}}]}`, "googlesearch", "web_search"}, {post, `{"tools":[{"google_search":{}}]}`, "googlesearch", "web_search"},
		{post, `{"tools":[{"urlContext":{}}]}`, "urlcontext", "web_fetch"}, {post, `{"tools":{"url_context":{}}}`, "urlcontext", "web_fetch"}, {post, `{"tools":[{"urlContext":null}]}`, "urlcontext", "web_fetch"},
		{post, `{"tools":[{"codeExecution":{}}]}`, "codeexecution", "code_execution"}, {post, `{"tools":[{"fileSearch":{}}]}`, "filesearch", "file_search"},
		{post, `{"tools":[{"mcpServers":[]}]}`, "mcpservers", "mcp"}, {post, `{"tools":[{"teleport":{}}]}`, "not known", ""}, {post, `{"tools":[7]}`, "no object", ""},
		{post, part(`{"fileData":{"fileUri":"https://evil.example.com"}}`), "fileuri", "url_sources"}, {post, part(`{"file_data":{"file_uri":"https://evil.example.com"}}`), "fileuri", "url_sources"},
		{post, part(`{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/x"}}`), "fileuri", "files"},
		{post, `{"contents":{"parts":{"fileData":{"fileUri":"gs://x"}}}}`, "fileuri", "url_sources"}, {post, `{"systemInstruction":{"parts":[{"fileData":{"fileUri":"gs://x"}}]}}`, "fileuri", "url_sources"},
		{post, part(`{"functionResponse":{"name":"f","parts":[{"fileData":{"fileUri":"x"}}]}}`), "fileuri", "url_sources"},
		{post, part(`{"text":"x","fileData":{"fileUri":"x"},"file_data":{}}`), "two spellings", ""}, {post, `{"cachedContent":"cachedContents/x"}`, "cachedcontent", "store"},
		{post, `{"cached_content":"x"}`, "cachedcontent", "store"}, {post, part(`{"hologram":1}`), "not known", ""}, {post, `{"unknown":1}`, "not known", ""},
		{"POST /v1internal:generateContent", `{"request":{"tools":[{"urlContext":{}}]}}`, "body.request.tools[0].urlcontext", "web_fetch"},
		{"POST /v1beta/models/m:countTokens", `{"generateContentRequest":{"contents":[{"parts":[{"fileData":{"fileUri":"x"}}]}]}}`, "fileuri", "url_sources"},
		{"POST /v1beta/models/m:batchEmbedContents", `{"requests":[{"content":{"parts":[{"fileData":{"fileUri":"x"}}]}}]}`, "fileuri", "url_sources"},
	})
}

func TestJudgeGitHub(t *testing.T) {
	judgeCases(t, "github", []apiCase{
		{"GET /repos/o/r/issues?state=open", "", "", ""}, {"GET /o/r/archive/refs/heads/main.tar.gz", "", "", ""}, {"GET /o/r/releases/download/v1/x.tgz", "", "", ""},
		{"GET /o/r.git/info/refs?service=git-upload-pack", "", "", ""}, {"POST /o/r.git/git-upload-pack", "0000", "", ""},
		{"POST /gists", `{}`, "not one of", ""}, {"POST /repos/o/r/issues", `{}`, "not one of", ""}, {"PUT /repos/o/r/contents/x", `{}`, "not one of", ""},
		{"DELETE /repos/o/r", "", "not one of", ""}, {"POST /o/r.git/git-receive-pack", "0000", "not one of", ""}, {"POST /repos/o/r/releases/1/assets", `{}`, "not one of", ""},
		{"POST /session", `{}`, "not one of", ""}, {"POST /graphql", `{"query":"query($o:String!){repository(owner:$o){id}}","variables":{"o":"mutation"},"operationName":"x"}`, "", ""},
		{"POST /graphql", `{"query":"mutation{createGist(input:{}){id}}"}`, "GraphQL mutation", ""}, {"POST /graphql", `{"query":"{viewer{login}}","id":"hash"}`, "body.id is not known", ""},
		{"POST /graphql", `[{"query":"{viewer{login}}"}]`, "no object", ""}, {"POST /graphql", `{"query":7}`, "no string", ""},
	})
}

func TestOnlyQueries(t *testing.T) {
	for _, text := range []string{
		`{viewer{login}}`, `query{a}`, `query Q($a:[Int!]!={b:1} @d(x:"}") )@e(f:[1,{g:2}]){a(b:"mutation{}")}`, "query A{a}fragment F on T{b}",
		"# mutation\nquery{a}", "\ufeffquery{a}", `query mutation{mutation{subscription}}`, `query{a(b:"""x"y\"""} mutation {""")}`, `{a} query B{b}`,
		`query{a(b:"\"} mutation{x}")}`, ` , query, {a, b} , `, "", `"""d""" query{a}`, `query{a(b:"é")}`, `query @a {b}`, `query{...on T{a}...F}`,
	} {
		if err := onlyQueries(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{
		`mutation{a}`, `query{a}mutation{b}`, `query{a} mutation M($x:I){b}`, `{a}mutation{b}`, `fragment F on T{a} mutation{b}`, `subscription{a}`, `MUTATION{a}`,
		"query{a}#\nmutation{b}", "query{a}#\rmutation{b}", `query{a(b:"")}mutation{c}`, `query{a(b:"""""")}mutation{c}`, `query{a(b:"\\")}mutation{c}`,
		`"d" mutation{a}`, `"""d""" mutation{a}`, `type T{a:I}`, `schema{query:Q}`, `extend type T{a:I}`, `query{a`, `query{a)`, `query{a}}`, `query`, `query{a(b:"x)}`,
		"query{a(b:\"\n\")}", `(mutation{a})`, `[mutation]{a}`, `query{a}é`, "query{a}\x00mutation{b}", `$a{b}`, `query{a}@mutation{b}`, "query{a}\ufeffmutation{b}",
	} {
		if err := onlyQueries(text); err == nil {
			t.Errorf("%q: taken", text)
		}
	}
}

// TestJudgeAPIHeaders: what makes a server read another request than was judged. The first row is the control.
func TestJudgeAPIHeaders(t *testing.T) {
	for _, c := range []struct {
		name, value, want string
		tool              string
	}{
		{"Content-Type", "application/json; charset=UTF-8", "", ""},
		{"Content-Type", "text/plain", "Content-Type", ""}, {"Content-Type", "", "Content-Type", ""}, {"Content-Type", "application/json; charset=utf-16", "charset", ""},
		{"Content-Type", "multipart/form-data; boundary=x", "Content-Type", ""},
		{"Content-Encoding", "identity", "", ""}, {"Content-Encoding", "gzip", "Content-Encoding", ""}, {"Content-Encoding", "zstd", "Content-Encoding", ""},
		{"X-Original-Method", "DELETE", "method override", ""}, {"X-Original-Url", "/v1/files", "path override", ""}, {"X-Forwarded-Path", "/v1/files", "path override", ""},
		{"X-Http-Method-Override", "DELETE", "method override", ""}, {"X_http_method", "GET", "method override", ""}, {"Upgrade", "websocket", "upgrade", ""},
		{"Anthropic-Beta", "context-1m-2025-08-07, interleaved-thinking-2025-05-14", "", ""}, {"Anthropic-Beta", "mcp-client-2025-11-20", "beta", "mcp"},
		{"Anthropic-Beta", "context-1m-2025-08-07,files-api-2025-04-14", "beta", "files"}, {"anthropic_beta", "x, Web-Fetch-2025-09-10", "beta", "web_fetch"},
		{"Anthropic-Beta", "code-execution-2025-08-25", "beta", "code_execution"}, {"Anthropic-Beta", "skills-2025-10-02", "beta", "code_execution"},
	} {
		judged := func(tools ...string) *refusal {
			req := apiRequest("POST /v1/messages", `{"model":"m"}`)
			req.Header[c.name] = []string{c.value}
			return judgeAPI(&Rule{API: "anthropic", ServerTools: tools}, req, newBodies())
		}
		if why := judged(); (why == nil) != (c.want == "") || why != nil && !strings.Contains(why.detail, c.want) {
			t.Errorf("%s: %s: %+v", c.name, c.value, why)
		}
		if c.tool != "" {
			if why := judged(c.tool); why != nil {
				t.Errorf("%s: %s with %s: %s", c.name, c.value, c.tool, why.detail)
			}
		}
	}
	req := apiRequest("POST /v1/messages", `{"model":"m"}`)
	req.Header.Add("Content-Type", "text/plain")
	if judgeAPI(&Rule{API: "anthropic"}, req, newBodies()) == nil {
		t.Error("two Content-Type fields")
	}
	if judgeAPI(&Rule{API: "wrong"}, apiRequest("GET /v1/models", ""), newBodies()) == nil {
		t.Error("an API that nobody knows")
	}
	if why := judgeAPI(&Rule{}, apiRequest("POST /v1/files", "x"), newBodies()); why != nil {
		t.Error("no API: ", why.detail)
	}
}

// endless is a body without end; it counts what was read of it.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += int64(len(p))
	return len(p), nil
}

// TestJudgedBodyIsBounded: in bytes, whether its length is said or not, in depth and in values. Controls: just inside.
func TestJudgedBodyIsBounded(t *testing.T) {
	body := &endless{}
	req := httptest.NewRequest("POST", "/v1/messages", body)
	req.Header.Set("Content-Type", "application/json")
	req.ContentLength = -1
	if why := judgeAPI(&Rule{API: "anthropic"}, req, newBodies()); why == nil || !strings.Contains(why.detail, "longer") || body.read > maxBody+1<<20 {
		t.Errorf("%+v after %d bytes", why, body.read)
	}
	body.read, req.ContentLength = 0, maxBody+1
	if why := judgeAPI(&Rule{API: "anthropic"}, req, newBodies()); why == nil || body.read != 0 {
		t.Errorf("%+v after %d bytes", why, body.read)
	}
	for _, c := range []struct {
		body string
		ok   bool
	}{
		{`{"metadata":` + strings.Repeat("[", maxDepth-1) + strings.Repeat("]", maxDepth-1) + `}`, true},
		{`{"metadata":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}`, false},
		{`{"metadata":[` + strings.Repeat("0,", maxNodes-4) + `0]}`, true},
		{`{"metadata":[` + strings.Repeat("0,", maxNodes) + `0]}`, false},
		{`{"model":"` + strings.Repeat("x", 20<<20) + `"}`, true},
	} {
		if why := judgeAPI(&Rule{API: "anthropic"}, apiRequest("POST /v1/messages", c.body), newBodies()); (why == nil) != c.ok {
			t.Errorf("%.40s… of %d bytes: %+v", c.body, len(c.body), why)
		}
	}
}

// TestRoomForBodies: a session holds so much and no more, and has all of it back when its requests are over, allowed or not.
func TestRoomForBodies(t *testing.T) {
	room := newBodies()
	big := `{"model":"` + strings.Repeat("x", 30<<20) + `"}`
	var open []*http.Request
	for range maxHeld / (60 << 20) {
		req := apiRequest("POST /v1/messages", big)
		if why := judgeAPI(&Rule{API: "anthropic"}, req, room); why != nil {
			t.Fatal(why.reason, why.detail)
		}
		open = append(open, req)
	}
	if why := judgeAPI(&Rule{API: "anthropic"}, apiRequest("POST /v1/messages", big), room); why == nil || why.reason != Busy {
		t.Fatalf("one more: %+v", why)
	}
	if err := open[0].Body.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, over := context.WithCancel(context.Background())
	req := apiRequest("POST /v1/messages", big).WithContext(ctx)
	if why := judgeAPI(&Rule{API: "anthropic"}, req, room); why != nil {
		t.Fatalf("after one was closed: %+v", why)
	}
	for _, req := range open[1:] {
		if err := req.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if why := judgeAPI(&Rule{API: "anthropic"}, apiRequest("POST /v1/messages", `{"unknown":1}`), room); why == nil || why.reason != ModelAPI {
		t.Fatalf("%+v", why)
	}
	if err := req.Body.Close(); err != nil { // and its request is over as well: once is enough
		t.Fatal(err)
	}
	over()
	if left := room.left.Load(); left != maxHeld {
		t.Errorf("%d bytes of room are lost", maxHeld-left)
	}
}
