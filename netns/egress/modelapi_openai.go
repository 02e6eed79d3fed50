package egress

import "fmt"

// Sources: https://platform.openai.com/docs/api-reference/responses/create, .../chat/create and .../docs/guides/tools for the bodies;
// codex-rs of https://github.com/openai/codex for the paths below /backend-api, which serve ChatGPT plans, and for the items.

// openaiCalls are the responses and completions, and what is read about models. Not here: stored responses and conversations, files,
// vector stores, batches, fine-tuning, assistants, realtime sessions, containers, administration.
func openaiCalls() []call {
	return []call{
		postCall("/v1/responses", judgeResponse),
		postCall("/v1/responses/compact", judgeCompact),
		postCall("/v1/responses/input_tokens", judgeCompact),
		postCall("/v1/chat/completions", judgeCompletion),
		getCall("/v1/models"),
		getCall("/v1/models/*"),
	}
}

// chatgptCalls are those that Codex makes for a plan, on a host that serves all of ChatGPT.
func chatgptCalls() []call {
	return []call{
		postCall("/backend-api/codex/responses", judgeResponse),
		postCall("/backend-api/codex/responses/compact", judgeCompact),
		getCall("/backend-api/codex/models"),
		getCall("/backend-api/wham/usage"),
	}
}

// judgeResponse judges the body of a request for a response. One that says nothing of "store" is stored.
func judgeResponse(body any, on serverTools) error {
	if object, ok := body.(map[string]any); ok && object["store"] != false && !on.has("store") {
		return &serverSide{tool: "store", what: "a body without \"store\": false"}
	}
	return judgeCompact(body, on)
}

// openaiAnywhere is what makes the provider act wherever in a body it stands.
func openaiAnywhere(on serverTools) *anywhere {
	return &anywhere{
		by: map[string]func(any, string) error{
			"model":       on.plainModel,
			"tool_choice": on.openaiChoice,
			"tools":       func(v any, where string) error { return each(v, where, on.openaiTool) },
			"image_url":   on.inlineURL, "file_url": on.inlineURL, "audio_url": on.inlineURL, "video_url": on.inlineURL,
			"file_data": on.inlineData, "data": on.inlineData,
			"file_id": on.emptyUnless("files"), "file_ids": on.emptyUnless("files"),
			"vector_store_id": on.emptyUnless("file_search"), "vector_store_ids": on.emptyUnless("file_search"),
			"server_url": on.emptyUnless("mcp"), "connector_id": on.emptyUnless("mcp"), "mcp_servers": on.emptyUnless("mcp"),
			"container": on.emptyUnless("code_execution"), "container_id": on.emptyUnless("code_execution"),
			"background":         on.falseUnless("background"),
			"web_search_options": on.emptyUnless("web_search"),
		},
		opaque: []string{"annotations", "arguments", "client_metadata", "env", "logit_bias", "metadata", "parameters", "results", "schema"},
	}
}

// judgeCompact judges what requests for a response and for a shorter history have in common.
func judgeCompact(body any, on serverTools) error {
	err := fields(body, "body", map[string]func(any, string) error{
		"input":                stringOr(on.openaiItem),
		"instructions":         stringOr(on.openaiItem),
		"tools":                func(v any, where string) error { return each(v, where, on.openaiTool) },
		"background":           on.falseUnless("background"),
		"store":                on.falseUnless("store"),
		"conversation":         on.emptyUnless("store"),
		"previous_response_id": on.emptyUnless("store"),
		"prompt":               on.emptyUnless("store"), // a template that was stored

		"client_metadata": nil, "context_management": nil, "include": nil, "max_output_tokens": nil, "max_tool_calls": nil, "metadata": nil,
		"model": nil, "parallel_tool_calls": nil, "prompt_cache_key": nil, "prompt_cache_retention": nil, "reasoning": nil,
		"safety_identifier": nil, "service_tier": nil, "stream": nil, "stream_options": nil, "temperature": nil, "text": nil,
		"tool_choice": nil, "top_logprobs": nil, "top_p": nil, "truncation": nil, "user": nil,
	})
	if err == nil {
		err = openaiAnywhere(on).judge(body, "body")
	}
	return err
}

// falseUnless refuses a switch that is not off unless its tool is on.
func (on serverTools) falseUnless(tool string) func(v any, where string) error {
	return func(v any, where string) error {
		if v == false {
			return nil
		}
		return on.need(tool, where)
	}
}

// openaiItem judges one item of a response's input.
func (on serverTools) openaiItem(v any, where string) error {
	object, kind, err := kindOf(v, where)
	if err != nil {
		return err
	}
	parts := func(name string) error {
		if object[name] == nil {
			return nil
		}
		return stringOr(on.openaiPart)(object[name], where+"."+name)
	}
	switch kind {
	case "", "message":
		return parts("content")
	case "function_call_output", "custom_tool_call_output":
		return parts("output")
	case "function_call", "custom_tool_call", "reasoning", "compaction", "compaction_summary", "ghost_snapshot",
		"local_shell_call", "local_shell_call_output", "apply_patch_call", "apply_patch_call_output",
		"tool_search_call", "tool_search_output":
		return nil
	case "shell_call":
		return on.shellEnvironment(object, where)
	case "shell_call_output":
		return nil
	case "computer_call":
		return nil
	case "computer_call_output":
		return on.openaiPart(object["output"], where+".output")
	case "web_search_call":
		return nil // what a search before was for; nothing is searched again
	case "file_search_call":
		return on.need("file_search", where)
	case "code_interpreter_call":
		return on.need("code_execution", where)
	case "image_generation_call":
		return on.need("image_generation", where)
	case "mcp_list_tools": // what a server has said that it offers
		delete(object, "tools")
		return on.need("mcp", where)
	case "mcp_call", "mcp_approval_request", "mcp_approval_response":
		return on.need("mcp", where)
	case "item_reference":
		return on.need("store", where)
	}
	return fmt.Errorf("%s: an item of type %q is not known", where, bounded(kind))
}

// openaiPart judges one part of an item's content.
func (on serverTools) openaiPart(v any, where string) error {
	object, kind, err := kindOf(v, where)
	if err != nil {
		return err
	}
	if object["file_id"] != nil {
		return on.need("files", where+".file_id")
	}
	for _, name := range []string{"image_url", "file_url", "audio_url", "video_url", "url"} {
		if object[name] == nil {
			continue
		}
		if err := on.inlineURL(object[name], where+"."+name); err != nil {
			return err
		}
	}
	switch kind {
	case "input_text", "output_text", "text", "summary_text", "reasoning_text", "refusal", "input_image", "input_file", "input_audio",
		"image_url", "computer_screenshot":
		return nil
	case "file":
		if file, ok := object["file"].(map[string]any); ok && file["file_id"] == nil {
			return nil
		}
		return on.need("files", where+".file")
	}
	return fmt.Errorf("%s: content of type %q is not known", where, bounded(kind))
}

// openaiChoice judges which of the tools is to be used: a word, or one by its type.
func (on serverTools) openaiChoice(v any, where string) error {
	object, ok := v.(map[string]any)
	if !ok || object["type"] == "allowed_tools" { // whose tools are judged as all are
		return nil
	}
	return on.openaiTool(v, where)
}

// openaiTool judges one tool of a request.
func (on serverTools) openaiTool(v any, where string) error {
	object, kind, err := kindOf(v, where)
	if err != nil {
		return err
	}
	switch kind {
	case "function", "custom", "local_shell", "apply_patch": // the client runs them
		return nil
	case "namespace": // functions of the client's in a group
		return each(object["tools"], where+".tools", on.openaiTool)
	case "tool_search":
		if object["execution"] == nil || object["execution"] == "client" || object["execution"] == "server" {
			return nil // among the request's own tools in either case
		}
	case "shell":
		return on.shellEnvironment(object, where)
	case "web_search", "web_search_preview", "web_search_2025_08_26", "web_search_preview_2025_03_11":
		if kind == "web_search" && object["external_web_access"] == false {
			return nil // in what the provider has already; nothing leaves it
		}
		return on.need("web_search", where)
	case "file_search":
		return on.need("file_search", where)
	case "code_interpreter":
		return on.need("code_execution", where)
	case "mcp":
		return on.need("mcp", where)
	case "image_generation":
		return on.need("image_generation", where)
	case "computer", "computer_use_preview":
		return on.need("computer_use", where)
	}
	return fmt.Errorf("%s: a tool of type %q is not known", where, bounded(kind))
}

// shellEnvironment judges where a shell runs: with the client, unless a container of the provider's is named.
func (on serverTools) shellEnvironment(object map[string]any, where string) error {
	if object["environment"] == nil {
		return nil
	}
	_, kind, err := kindOf(object["environment"], where+".environment")
	if err != nil {
		return err
	}
	if kind == "local" {
		return nil
	}
	return on.need("code_execution", where+".environment")
}

// judgeCompletion judges the body of a request for a chat completion.
func judgeCompletion(body any, on serverTools) error {
	message := func(v any, where string) error {
		return fields(v, where, map[string]func(any, string) error{
			"content": stringOr(on.openaiPart),
			"audio":   on.emptyUnless("store"), // an answer that was stored
			"role":    nil, "name": nil, "refusal": nil, "tool_calls": nil, "tool_call_id": nil, "function_call": nil, "reasoning_content": nil,
		})
	}
	tool := func(v any, where string) error {
		_, kind, err := kindOf(v, where)
		if err == nil && kind != "function" && kind != "custom" {
			err = fmt.Errorf("%s: a tool of type %q is not known", where, bounded(kind))
		}
		return err
	}
	err := fields(body, "body", map[string]func(any, string) error{
		"messages":           func(v any, where string) error { return each(v, where, message) },
		"tools":              func(v any, where string) error { return each(v, where, tool) },
		"store":              on.falseUnless("store"),
		"web_search_options": on.emptyUnless("web_search"),

		"audio": nil, "frequency_penalty": nil, "function_call": nil, "functions": nil, "logit_bias": nil, "logprobs": nil,
		"max_completion_tokens": nil, "max_tokens": nil, "metadata": nil, "modalities": nil, "model": nil, "n": nil,
		"parallel_tool_calls": nil, "prediction": nil, "presence_penalty": nil, "prompt_cache_key": nil, "prompt_cache_retention": nil,
		"reasoning_effort": nil, "response_format": nil, "safety_identifier": nil, "seed": nil, "service_tier": nil, "stop": nil,
		"stream": nil, "stream_options": nil, "temperature": nil, "tool_choice": nil, "top_logprobs": nil, "top_p": nil, "user": nil,
		"verbosity": nil,
	})
	if err == nil {
		err = openaiAnywhere(on).judge(body, "body")
	}
	return err
}
