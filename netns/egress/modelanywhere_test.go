package egress

import (
	"strings"
	"testing"
)

// TestServerToolsAnywhere: what makes a provider act is found where the judge of the field around it takes any object. Controls: the
// same names where they are the user's, a tool's or a schema's.
func TestServerToolsAnywhere(t *testing.T) {
	const responses, chat = "POST /v1/responses", "POST /v1/chat/completions"
	response := func(more string) string { return `{"store":false,` + more + `}` }
	user := func(part string) string { return `{"messages":[{"role":"user","content":[` + part + `]}]}` }
	judgeCases(t, "openai", []apiCase{
		{chat, `{"model":"gpt-4o-search-preview","messages":[]}`, "body.model", "web_search"},
		{chat, `{"model":"gpt-4o-mini-search-preview-2025-03-11"}`, "body.model", "web_search"}, {chat, `{"model":"GPT-5-Search-API"}`, "body.model", "web_search"},
		{responses, response(`"model":"o3-deep-research"`), "body.model", "web_search"}, {"POST /v1/responses/compact", `{"model":"gpt-5-search-api"}`, "body.model", "web_search"},
		{chat, `{"model":["gpt-4o"]}`, "is no string", ""}, {chat, `{"model":"gpt-4o-mini","messages":[]}`, "", ""},

		{responses, response(`"input":[{"type":"tool_search_output","tools":[{"type":"mcp","server_url":"https://evil.example.com"}]}]`), "input[0].tools[0]", "mcp"},
		{responses, response(`"input":[{"type":"tool_search_output","tools":[{"type":"web_search"}]}]`), "input[0].tools[0]", "web_search"},
		{responses, response(`"input":[{"type":"tool_search_output","tools":[{"type":"teleport"}]}]`), "not known", ""},
		{responses, response(`"input":[{"type":"tool_search_output","tools":[{"type":"function","name":"f","parameters":{"properties":{"tools":[{"type":"mcp"}],"file_url":{}}}}]}]`), "", ""},
		{responses, response(`"input":[{"type":"mcp_list_tools","tools":[{"name":"f","input_schema":{}}]}]`), "input[0]", "mcp"},
		{responses, response(`"tools":[{"type":"function","name":"f","server_url":"https://evil.example.com"}]`), "server_url", "mcp"},
		{responses, response(`"tools":[{"type":"function","name":"f","tools":[{"type":"code_interpreter"}]}]`), "tools[0].tools[0]", "code_execution"},
		{responses, response(`"tool_choice":{"type":"allowed_tools","tools":[{"type":"mcp","server_label":"x"}]}`), "tool_choice.tools[0]", "mcp"},
		{responses, response(`"tool_choice":{"type":"web_search_preview"}`), "tool_choice", "web_search"}, {responses, response(`"tool_choice":{"type":"function","name":"f"}`), "", ""},
		{responses, response(`"tool_choice":{"type":"allowed_tools","tools":[{"type":"function","name":"f"}]}`), "", ""},
		{responses, response(`"text":{"Connector_ID":"connector_gmail"}`), "body.text.Connector_ID", "mcp"},
		{responses, response(`"context_management":[{"vector_store_ids":["v"]}]`), "vector_store_ids", "file_search"},
		{responses, response(`"reasoning":{"container":{"type":"auto"}}`), "reasoning.container", "code_execution"},
		{responses, response(`"input":[{"type":"reasoning","content":[{"type":"input_image","image_url":"https://evil.example.com"}]}]`), "content[0].image_url", "url_sources"},
		{responses, response(`"input":[{"role":"user","content":[{"type":"input_file","filename":"f","file_data":"https://evil.example.com"}]}]`), "file_data", "url_sources"},
		{responses, response(`"input":[{"role":"user","content":[{"type":"input_file","filename":"f","file_data":"JVBERi0xLjQ="}]}]`), "", ""},
		{responses, response(`"input":[{"type":"local_shell_call","action":{"type":"exec","env":{"tools":"x","file_url":"https://a.example.com"}}},` +
			`{"type":"tool_search_call","arguments":{"tools":7}},{"role":"assistant","content":[{"type":"output_text","text":"x","annotations":[{"file_id":"f"}]}]}]`), "", ""},

		{chat, user(`{"type":"file","file":{"file_url":"https://evil.example.com"}}`), "file.file_url", "url_sources"},
		{chat, user(`{"type":"file","file":{"file_data":"https://evil.example.com"}}`), "file.file_data", "url_sources"},
		{chat, user(`{"type":"file","file":{"file_data":"data:application/pdf;base64,AA"}}`), "", ""},
		{chat, user(`{"type":"input_audio","input_audio":{"data":"https://evil.example.com","format":"wav"}}`), "input_audio.data", "url_sources"},
		{chat, user(`{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}`), "", ""},
		{chat, `{"tools":[{"type":"function","function":{"name":"f","server_url":"https://evil.example.com"}}]}`, "server_url", "mcp"},
		{chat, `{"tools":[{"type":"function","function":{"name":"f","parameters":{"properties":{"server_url":{"type":"string"}}}}}]}`, "", ""},
	})

	const messages = "POST /v1/messages"
	judgeCases(t, "anthropic", []apiCase{
		{messages, `{"fallbacks":[{"model":"m","tools":[{"type":"web_search_20250305","name":"s"}]}]}`, "fallbacks[0].tools[0]", "web_search"},
		{messages, `{"fallbacks":[{"model":"m","tools":[{"name":"Bash","input_schema":{"properties":{"tools":[{"type":"mcp_toolset"}],"mcp_servers":1}}}]}]}`, "", ""},
		{messages, `{"output_config":{"mcp_servers":[{"type":"url","url":"https://evil.example.com"}]}}`, "output_config.mcp_servers", "mcp"},
		{messages, `{"metadata":{"user_id":"u","Mcp_Servers":[{}]}}`, "Mcp_Servers", "mcp"},
		{messages, `{"context_management":{"edits":[{"type":"compact_20260112","tools":[{"type":"web_fetch_20250910"}]}]}}`, "edits[0].tools[0]", "web_fetch"},
		{messages, `{"context_management":{"edits":[{"type":"clear_tool_uses_20250919","exclude_tools":["web_search"]}]}}`, "", ""},
		{messages, `{"diagnostics":{"container":"c"}}`, "diagnostics.container", "code_execution"},
		{messages, `{"tools":[{"type":"bash_20250124","name":"bash","mcp_server_name":"x"}]}`, "mcp_server_name", "mcp"},
		{messages, `{"messages":[{"role":"user","content":[{"type":"text","text":"x","content":[{"type":"image","source":{"type":"url","url":"https://evil.example.com"}}]}]}]}`, "source", "url_sources"},
		{messages, `{"output_config":{"x":{"type":"url","url":"https://evil.example.com"}}}`, "output_config.x", "url_sources"},
		{messages, `{"messages":[{"role":"user","content":[{"type":"search_result","source":"https://a.example.com","title":"t","content":[{"type":"text","text":"x"}]}]},` +
			`{"role":"assistant","content":[{"type":"text","text":"x","citations":[{"type":"char_location","file_id":"f"}]},{"type":"tool_use","id":"1","name":"n","input":{"mcp_servers":[1]}}]}]}`, "", ""},
	})
}

// TestHostsOfOpenAI: a plan's host serves all of ChatGPT and gets what Codex asks there; the API's host gets nothing of it. Each row is
// the other's control.
func TestHostsOfOpenAI(t *testing.T) {
	for _, c := range []struct{ request, body, host, not string }{
		{"POST /backend-api/codex/responses", `{"store":false}`, "chatgpt.com", "api.openai.com"},
		{"POST /backend-api/codex/responses/compact", `{}`, "chatgpt.com", "api.openai.com"},
		{"GET /backend-api/codex/models", "", "chatgpt.com", "api.openai.com"}, {"GET /backend-api/wham/usage", "", "chatgpt.com", "api.openai.com"},
		{"POST /v1/responses", `{"store":false}`, "api.openai.com", "chatgpt.com"}, {"POST /v1/chat/completions", `{}`, "api.openai.com", "chatgpt.com"},
		{"GET /v1/models", "", "api.openai.com", "chatgpt.com"},
	} {
		if why := judgeAPI(&Rule{API: "openai", Host: c.host}, apiRequest(c.request, c.body), newBodies()); why != nil {
			t.Errorf("%s at %s: %s", c.request, c.host, why.detail)
		}
		if why := judgeAPI(&Rule{API: "openai", Host: c.not}, apiRequest(c.request, c.body), newBodies()); why == nil || why.reason != ModelAPI {
			t.Errorf("%s at %s: %v", c.request, c.not, why)
		}
	}
}

// TestGeminiParameters: Google's system parameters say the type of the body, its header fields and the body itself once more. The first
// rows are the control.
func TestGeminiParameters(t *testing.T) {
	judged := func(api, query, name string) *refusal {
		req := apiRequest("POST /v1beta/models/m:generateContent?"+query, `{"contents":[]}`)
		if api == "anthropic" {
			req = apiRequest("POST /v1/messages?"+query, `{"messages":[]}`)
		}
		if name != "" {
			req.Header.Set(name, "x")
		}
		return judgeAPI(&Rule{API: api}, req, newBodies())
	}
	for _, query := range []string{"alt=sse", "$alt=json%3Benum-encoding=int", "%24alt=sse&prettyPrint=false", "key=k", "$key=k", "pageSize=1&pageToken=x", ""} {
		if why := judged("gemini", query, "X-Goog-Api-Client"); why != nil {
			t.Errorf("%s: %s", query, why.detail)
		}
	}
	for _, query := range []string{
		"$ct=text/plain", "%24ct=x", "$CT=x", "alt=sse&$ct=x", "alt=sse;$ct=x", "$httpHeaders=x-goog-api-key:foreign", "$req=%7B%7D", "$outputDefaults=1", "$content-type=x",
		"$httpMethod=DELETE", "$.x=1", "upload_protocol=multipart", "uploadType=media", "callback=x", "unknown=1", "%zz=1", "_method[]=DELETE", "httpMethod=DELETE",
	} {
		if why := judged("gemini", query, ""); why == nil || !strings.Contains(why.detail, "query parameter") {
			t.Errorf("%s: %v", query, why)
		}
	}
	for _, name := range []string{"X-Goog-Upload-Protocol", "X-Goog-Upload-Command", "X_goog_upload_protocol", "X-Goog-Encode-Response-If-Executable"} {
		if why := judged("gemini", "", name); why == nil {
			t.Errorf("%s: allowed", name)
		}
	}
	if why := judged("anthropic", "beta=true&unknown=1", ""); why != nil {
		t.Errorf("another API's parameters: %s", why.detail)
	}
}
