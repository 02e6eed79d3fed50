package egress

import (
	"errors"
	"fmt"
	"strings"
)

// Sources: https://ai.google.dev/api/generate-content, .../api/tokens, .../api/embeddings and .../api/caching for the bodies;
// packages/core/src/code_assist of https://github.com/google-gemini/gemini-cli for the calls of Code Assist.

// geminiCalls are the generation of content, its tokens and embeddings, the models, and what Gemini CLI asks of Code Assist about
// the account. Not here: files, cached contents, batches, corpora, tuned models, live sessions, telemetry.
func geminiCalls() []call {
	var calls []call
	for _, version := range []string{"/v1", "/v1beta", "/v1alpha"} {
		calls = append(calls,
			getCall(version+"/models"),
			getCall(version+"/models/*"),
			postCall(version+"/models/*:generateContent", judgeGenerate),
			postCall(version+"/models/*:streamGenerateContent", judgeGenerate),
			postCall(version+"/models/*:countTokens", judgeGenerate),
			postCall(version+"/models/*:embedContent", judgeGenerate),
			postCall(version+"/models/*:batchEmbedContents", judgeGenerate),
		)
	}
	return append(calls,
		postCall("/v1internal:generateContent", judgeGenerate),
		postCall("/v1internal:streamGenerateContent", judgeGenerate),
		postCall("/v1internal:countTokens", judgeGenerate),
		postCall("/v1internal:loadCodeAssist", judgeAccount),
		postCall("/v1internal:onboardUser", judgeAccount),
		postCall("/v1internal:listExperiments", judgeAccount),
		postCall("/v1internal:fetchAdminControls", judgeAccount),
		postCall("/v1internal:retrieveUserQuota", judgeAccount),
		getCall("/v1internal:getCodeAssistGlobalUserSetting"),
		getCall("/v1internal/operations/*"), // whether onboarding is done
	)
}

// judgeAccount takes any object: the calls have small ones that name the client and the project.
func judgeAccount(body any, _ serverTools) error {
	if _, ok := body.(map[string]any); !ok {
		return errors.New("body is no object")
	}
	return nil
}

// judgeGenerate judges the body of a request for content, tokens or embeddings. Code Assist wraps it in "request", tokens are
// counted of a "generateContentRequest", and embeddings come in "requests".
func judgeGenerate(body any, on serverTools) error { return on.geminiRequest(body, "body") }

func (on serverTools) geminiRequest(v any, where string) error {
	return protoFields(v, where, map[string]func(any, string) error{
		"request":                on.geminiRequest,
		"generatecontentrequest": on.geminiRequest,
		"requests":               func(v any, where string) error { return each(v, where, on.geminiRequest) },
		"contents":               func(v any, where string) error { return oneOrEach(v, where, on.geminiContent) },
		"content":                on.geminiContent,
		"systeminstruction":      on.geminiContent,
		"tools":                  func(v any, where string) error { return oneOrEach(v, where, on.geminiTool) },
		"cachedcontent":          on.emptyUnless("store"),

		"model": nil, "project": nil, "userpromptid": nil, "sessionid": nil, "labels": nil, "safetysettings": nil, "generationconfig": nil,
		"toolconfig": nil, "tasktype": nil, "title": nil, "outputdimensionality": nil, "servicetier": nil, "enabledcredittypes": nil,
	})
}

// oneOrEach judges the elements of an array, or the one that stands in its place: protocol buffers' JSON readers differ there.
func oneOrEach(v any, where string, check func(any, string) error) error {
	if _, ok := v.([]any); ok {
		return each(v, where, check)
	}
	return check(v, where)
}

func (on serverTools) geminiContent(v any, where string) error {
	return protoFields(v, where, map[string]func(any, string) error{
		"role":  nil,
		"parts": func(v any, where string) error { return oneOrEach(v, where, on.geminiPart) },
	})
}

func (on serverTools) geminiPart(v any, where string) error {
	return protoFields(v, where, map[string]func(any, string) error{
		"filedata": on.geminiFile,
		"functionresponse": func(v any, where string) error {
			return protoFields(v, where, map[string]func(any, string) error{
				"id": nil, "name": nil, "response": nil, "willcontinue": nil, "scheduling": nil,
				"parts": func(v any, where string) error { return oneOrEach(v, where, on.geminiPart) },
			})
		},
		"executablecode":      on.emptyUnless("code_execution"),
		"codeexecutionresult": on.emptyUnless("code_execution"),
		"toolcall":            on.emptyUnless("web_search"), // of tools that the provider runs
		"toolresponse":        on.emptyUnless("web_search"),

		"text": nil, "thought": nil, "thoughtsignature": nil, "inlinedata": nil, "functioncall": nil, "videometadata": nil, "mediaresolution": nil,
		"partmetadata": nil,
	})
}

// geminiFile judges a reference to data: files that were uploaded lie at the API itself, everything else is fetched.
func (on serverTools) geminiFile(v any, where string) error {
	return protoFields(v, where, map[string]func(any, string) error{
		"mimetype": nil, "displayname": nil,
		"fileuri": func(v any, where string) error {
			if s, ok := v.(string); ok && strings.HasPrefix(s, "https://generativelanguage.googleapis.com/v1beta/files/") {
				return on.need("files", where)
			}
			return on.need("url_sources", where)
		},
	})
}

func (on serverTools) geminiTool(v any, where string) error {
	needs := func(tool string) func(any, string) error {
		return func(_ any, where string) error { return on.need(tool, where) }
	}
	object, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is no object", where)
	}
	for name, value := range object { // {} switches a tool on; a reader that takes null for an empty message would do so, too
		if value == nil {
			object[name] = false
		}
	}
	return protoFields(v, where, map[string]func(any, string) error{
		"functiondeclarations":  nil,
		"googlesearch":          needs("web_search"),
		"googlesearchretrieval": needs("web_search"),
		"enterprisewebsearch":   needs("web_search"),
		"urlcontext":            needs("web_fetch"),
		"codeexecution":         needs("code_execution"),
		"googlemaps":            needs("maps"),
		"filesearch":            needs("file_search"),
		"retrieval":             needs("file_search"),
		"computeruse":           needs("computer_use"),
		"mcpservers":            needs("mcp"),
	})
}

// protoFields is fields for protocol buffers in JSON, whose readers take each name in two spellings, lowerCamelCase and the
// original with underscores (https://protobuf.dev/programming-guides/json/). The table has the name that both make.
func protoFields(v any, where string, table map[string]func(v any, where string) error) error {
	object, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is no object", where)
	}
	plain := make(map[string]any, len(object))
	for name, value := range object {
		key := strings.ToLower(strings.ReplaceAll(name, "_", ""))
		if _, twice := plain[key]; twice {
			return fmt.Errorf("%s.%s stands there in two spellings", where, bounded(name))
		}
		plain[key] = value
	}
	return fields(plain, where, table)
}
