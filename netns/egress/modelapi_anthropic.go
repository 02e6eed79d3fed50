package egress

import (
	"fmt"
	"net/http"
	"strings"
)

// Sources: https://platform.claude.com/docs/en/api/messages and .../agents-and-tools/tool-use/overview for the bodies,
// https://platform.claude.com/docs/en/api/beta-headers for the betas; the paths below /api are what Claude Code 2.1 asks for.

// anthropicCalls are the messages, their tokens, the models, and what Claude Code reads about the account. Not here: files, batches,
// skills, agents, sessions, organizations, and every write to the account.
func anthropicCalls() []call {
	return []call{
		postCall("/v1/messages", judgeMessages),
		postCall("/v1/messages/count_tokens", judgeMessages),
		getCall("/v1/models"),
		getCall("/v1/models/*"),
		getCall("/"), // is the API there?
		getCall("/api/hello"),
		getCall("/api/claude_cli_profile"),
		getCall("/api/claude_cli/bootstrap"),
		getCall("/api/claude_code_grove"),
		getCall("/api/claude_code_penguin_mode"),
		getCall("/api/claude_code/organizations/metrics_enabled"),
		getCall("/api/claude_code/policy_limits"),
		getCall("/api/claude_code/settings"),
		getCall("/api/oauth/account/settings"),
		getCall("/api/oauth/claude_cli/client_data"),
		getCall("/api/oauth/claude_cli/roles"),
		getCall("/api/oauth/profile"),
		getCall("/api/oauth/usage"),
		getCall("/api/organization/claude_code_first_token_date"),
		getCall("/api/web/domain_info"), // whether WebFetch, which runs in the jail, should fetch from a domain
	}
}

// judgeMessages judges the body of a request for a message or its tokens.
func judgeMessages(body any, on serverTools) error {
	blocks := stringOr(func(v any, where string) error { return anthropicBlock(v, where, on) })
	message := func(v any, where string) error {
		return fields(v, where, map[string]func(any, string) error{"role": nil, "content": blocks})
	}
	err := fields(body, "body", map[string]func(any, string) error{
		"messages":    func(v any, where string) error { return each(v, where, message) },
		"system":      blocks,
		"tools":       func(v any, where string) error { return each(v, where, on.anthropicTool) },
		"mcp_servers": on.emptyUnless("mcp"),
		"container":   on.emptyUnless("code_execution"),

		"cache_control": nil, "context_hint": nil, "context_management": nil, "diagnostics": nil, "fallbacks": nil, "inference_geo": nil,
		"max_tokens": nil, "metadata": nil, "model": nil, "output_config": nil, "output_format": nil, "service_tier": nil, "speed": nil,
		"stop_sequences": nil, "stream": nil, "temperature": nil, "thinking": nil, "tool_choice": nil, "top_k": nil, "top_p": nil,
	})
	if err == nil {
		err = anthropicAnywhere(on).judge(body, "body")
	}
	return err
}

// anthropicAnywhere is what makes the provider act wherever in a body it stands.
func anthropicAnywhere(on serverTools) *anywhere {
	return &anywhere{
		by: map[string]func(any, string) error{
			"tools":       func(v any, where string) error { return each(v, where, on.anthropicTool) },
			"mcp_servers": on.emptyUnless("mcp"), "mcp_server_name": on.emptyUnless("mcp"), "authorization_token": on.emptyUnless("mcp"),
			"container": on.emptyUnless("code_execution"),
			"source": func(v any, where string) error {
				if _, ok := v.(string); ok { // of a search result: where the client has it from
					return nil
				}
				return anthropicSource(v, where, on)
			},
		},
		kinds:  map[string]func(string) error{"url": func(where string) error { return on.need("url_sources", where) }},
		opaque: []string{"citations", "container", "input", "input_examples", "input_schema", "mcp_servers", "schema"},
	}
}

// emptyUnless refuses a field unless its tool is on or it is an empty list.
func (on serverTools) emptyUnless(tool string) func(v any, where string) error {
	return func(v any, where string) error {
		if list, ok := v.([]any); ok && len(list) == 0 {
			return nil
		}
		return on.need(tool, where)
	}
}

// anthropicBlock judges one block of content.
func anthropicBlock(v any, where string, on serverTools) error {
	object, kind, err := kindOf(v, where)
	if err != nil {
		return err
	}
	switch kind {
	case "text", "thinking", "redacted_thinking", "compaction", "tool_use", "tool_reference":
		return nil // what a tool was called with is the model's text
	case "image", "document":
		return anthropicSource(object["source"], where+".source", on)
	case "tool_result", "search_result":
		if content := object["content"]; content != nil {
			return stringOr(func(v any, where string) error { return anthropicBlock(v, where, on) })(content, where+".content")
		}
		return nil
	case "tool_search_tool_result":
		return nil // of the request's own tools
	case "server_tool_use":
		name, _ := object["name"].(string)
		return on.anthropicServerTool(name, where)
	case "web_search_tool_result":
		return on.need("web_search", where)
	case "web_fetch_tool_result":
		return on.need("web_fetch", where)
	case "code_execution_tool_result", "bash_code_execution_tool_result", "text_editor_code_execution_tool_result", "container_upload":
		return on.need("code_execution", where)
	case "mcp_tool_use", "mcp_tool_result":
		return on.need("mcp", where)
	case "advisor_tool_result":
		return on.need("advisor", where)
	}
	return fmt.Errorf("%s: content of type %q is not known", where, bounded(kind))
}

// anthropicSource judges where an image or a document comes from.
func anthropicSource(v any, where string, on serverTools) error {
	object, kind, err := kindOf(v, where)
	if err != nil {
		return err
	}
	for name := range object {
		if (name == "url" && kind != "url") || (name == "file_id" && kind != "file") {
			return fmt.Errorf("%s is of type %q and has a %s", where, bounded(kind), name)
		}
	}
	switch kind {
	case "base64", "text":
		return nil
	case "content":
		return stringOr(func(v any, where string) error { return anthropicBlock(v, where, on) })(object["content"], where+".content")
	case "url":
		return on.need("url_sources", where)
	case "file":
		return on.need("files", where)
	}
	return fmt.Errorf("%s: a source of type %q is not known", where, bounded(kind))
}

// anthropicTool judges one tool of a request. A tool without a type is the client's own.
func (on serverTools) anthropicTool(v any, where string) error {
	_, kind, err := kindOf(v, where)
	if err != nil {
		return err
	}
	name := undated(kind)
	switch name {
	case "", "custom", "bash", "text_editor", "computer", "memory": // the client runs them
		return nil
	case "mcp_toolset":
		return on.need("mcp", where)
	}
	return on.anthropicServerTool(name, where)
}

// anthropicServerTool judges a tool that the provider runs, by its name without the date.
func (on serverTools) anthropicServerTool(name, where string) error {
	switch name {
	case "tool_search_tool_regex", "tool_search_tool_bm25": // among the request's own tools
		return nil
	case "web_search", "web_fetch", "code_execution", "advisor":
		return on.need(name, where)
	case "bash_code_execution", "text_editor_code_execution":
		return on.need("code_execution", where)
	}
	return fmt.Errorf("%s: a tool of type %q is not known", where, bounded(name))
}

// undated cuts the date off the name of a tool's version: web_search_20260209.
func undated(kind string) string {
	i := strings.LastIndexByte(kind, '_')
	if i >= 0 && len(kind)-i == 9 && strings.Trim(kind[i+1:], digits) == "" {
		return kind[:i]
	}
	return kind
}

// checkBetas judges the anthropic-beta fields. A beta that is not in the table only makes bodies mean what judgeMessages judges.
func checkBetas(h http.Header, on serverTools) error {
	for name, values := range h {
		if spelled(name) != "Anthropic-Beta" {
			continue
		}
		for beta := range strings.SplitSeq(strings.Join(values, ","), ",") {
			beta = strings.ToLower(strings.TrimSpace(beta))
			for _, b := range anthropicBetas() {
				if !strings.HasPrefix(beta, b.name+"-20") {
					continue
				}
				if err := on.need(b.tool, "beta "+bounded(beta)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// anthropicBetas are the betas that let a request use what the provider does.
func anthropicBetas() []struct{ name, tool string } {
	return []struct{ name, tool string }{
		{"code-execution", "code_execution"}, {"files-api", "files"}, {"mcp-client", "mcp"}, {"mcp-servers", "mcp"},
		{"skills", "code_execution"}, {"web-fetch", "web_fetch"}, {"web-search", "web_search"},
	}
}
