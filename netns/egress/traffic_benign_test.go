package egress

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// any1 gives one of the list.
func any1[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// words is text of n words, as people and models write it.
func words(r *rand.Rand, n int) string {
	var out []string
	for range n {
		out = append(out, any1(r, "the", "test", "fails", "in", "parser.go", "because", "of", "a", "nil", "map;", "please", "mend",
			"it", "and", "run",
			"`go test ./...`", "again", "\"quoted\"", "C:\\temp", "naïve", "日本", "https://docs.example.com/a?b=c", "token",
			"password=", "<b>"))
	}
	return strings.Join(out, " ")
}

func asJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return text
}

func gzipped1(text []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, _ = z.Write(text)
	_ = z.Close()
	return out.Bytes()
}

type object = map[string]any

// gets makes a variant of requests that are to arrive whole and be answered. Each goes by the name's address or the proxy, in
// either version of HTTP.
func gets(name string, make func(r *rand.Rand, id string) sending) variant {
	return variant{name: name, make: func(r *rand.Rand, id string) trial {
		q := make(r, id)
		if q.method == "" {
			q.method = "GET"
		}
		q.version, q.proxied = max(q.version, 1+r.IntN(2)), r.IntN(2) == 0
		return trial{id: id, act: func(w *world) error { return w.gets(q) }}
	}}
}

// wrongly is a variant that the door is known to be wrong about.
func wrongly(why string, v variant) variant {
	v.wrong = why
	return v
}

// benignTraffic is what agents, package managers, git and other tools say when nobody misleads them. The heads are those of the
// tools.
func benignTraffic() []*class {
	return []*class{
		{name: "Claude Code", policy: "api", variants: claudeTraffic()},
		{name: "Codex and OpenAI's clients", policy: "api", variants: openaiTraffic()},
		{name: "Gemini CLI", policy: "api", variants: geminiTraffic()},
		{name: "package managers", policy: "read", variants: packageTraffic()},
		{name: "git fetch and clone", policy: "git", variants: fetchTraffic()},
		{name: "git push to own refs", policy: "push", variants: pushTraffic()},
		{name: "a service's API", policy: "strict", variants: serviceTraffic()},
		{name: "curl, browsers and scripts", policy: "host, inspect", variants: webTraffic()},
		{name: "names", policy: "host, wildcard", variants: nameTraffic()},
	}
}

func claudeHead(stream bool) []string {
	head := []string{"Accept", "application/json", "Anthropic-Version", "2023-06-01", "Anthropic-Beta",
		"claude-code-20250219,interleaved-thinking-2025-05-14",
		"Content-Type", "application/json", "User-Agent", "claude-cli/2.1.0 (external, cli)", "X-Api-Key", apiShown, "X-App", "cli",
		"X-Stainless-Lang", "js", "X-Stainless-Retry-Count", "0", "X-Stainless-Timeout", "600"}
	if stream {
		head[1] = "text/event-stream"
	}
	return head
}

func claudeBody(r *rand.Rand, id string) object {
	tools := []object{}
	for _, name := range []string{"Bash", "Read", "Edit", "WebFetch", "Task"}[:1+r.IntN(5)] {
		tools = append(tools, object{"name": name, "description": words(r, 20), "input_schema": object{"type": "object",
			"properties": object{
				"url": object{"type": "string", "format": "uri"}, "command": object{"type": "string"},
				"password": object{"type": "string"}}}})
	}
	turns := []object{{"role": "user", "content": []object{{"type": "text", "text": words(r, 5+r.IntN(300)),
		"cache_control": object{"type": "ephemeral"}}}}}
	for range r.IntN(4) {
		call := lettersOf(r, 12)
		turns = append(turns, object{"role": "assistant", "content": []object{{"type": "thinking", "thinking": words(r, 9),
			"signature": "AAAA"},
			{"type": "tool_use", "id": call, "name": "Bash", "input": object{"command": words(r, 8),
				"url": "https://a.example.com/" + id}}}},
			object{"role": "user", "content": []object{{"type": "tool_result", "tool_use_id": call, "content": words(r, 50)}}})
	}
	if r.IntN(3) == 0 {
		turns = append(turns, object{"role": "user", "content": []object{{"type": "image", "source": object{"type": "base64",
			"media_type": "image/png", "data": "iVBORw0KGgo="}}}})
	}
	return object{"model": "claude-sonnet-4-5", "max_tokens": 32000, "stream": true, "metadata": object{"user_id": "user_" + id},
		"system": []object{{"type": "text", "text": words(r, 60)}}, "tools": tools, "messages": turns}
}

func claudeTraffic() []variant {
	post := func(path string, change func(object)) func(r *rand.Rand, id string) sending {
		return func(r *rand.Rand, id string) sending {
			body := claudeBody(r, id)
			if change != nil {
				change(body)
			}
			return sending{method: "POST", url: "https://api.anthropic.com" + path, header: claudeHead(false), body: asJSON(body)}
		}
	}
	return []variant{
		gets("messages", post("/v1/messages?beta=true", nil)),
		gets("messages, streamed", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://api.anthropic.com/v1/messages?beta=true", header: claudeHead(true),
				body: asJSON(claudeBody(r, id))}
		}),
		gets("tokens are counted", post("/v1/messages/count_tokens?beta=true", func(b object) {
			delete(b, "max_tokens")
			delete(b,
				"stream")
			delete(b, "metadata")
		})),
		gets("a body in chunks", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://api.anthropic.com/v1/messages", header: claudeHead(false),
				body: asJSON(claudeBody(r, id)), chunked: true}
		}),
		gets("models, profile, settings", func(r *rand.Rand, id string) sending {
			return sending{url: "https://api.anthropic.com" + any1(r, "/v1/models", "/v1/models/claude-sonnet-4-5",
				"/api/oauth/profile", "/api/claude_code/settings", "/api/hello"), header: claudeHead(false)}
		}),
		gets("conversations about credentials", func(r *rand.Rand, id string) sending {
			b := claudeBody(r, id)
			b["messages"] = []object{{"role": "user", "content": "set api_key=" + lettersOf(r,
				20) + " and Authorization: Bearer " + lettersOf(r, 30) + " " + words(r, 9)}}
			return sending{method: "POST", url: "https://api.anthropic.com/v1/messages", header: claudeHead(false), body: asJSON(b)}
		}),
		wrongly("the provider would search; a rule's server_tools = [\"web_search\"] allows it", gets("search at the provider",
			post("/v1/messages", func(b object) {
				b["tools"] = append(b["tools"].([]object), object{"type": "web_search_20250305", "name": "web_search", "max_uses": 8})
			}))),
	}
}

func openaiHead(agent string) []string {
	return []string{"Authorization", "Bearer " + openaiShown, "Content-Type", "application/json", "User-Agent", agent, "Accept",
		"application/json"}
}

func openaiTraffic() []variant {
	const codex, python = "codex_cli_rs/0.50.0 (Debian 12.0.0; x86_64)", "OpenAI/Python 1.99.0"
	response := func(r *rand.Rand, id string) object {
		return object{"model": "gpt-5-codex", "instructions": words(r, 50), "stream": true, "store": false,
			"parallel_tool_calls": false,
			"prompt_cache_key":    id, "include": []string{"reasoning.encrypted_content"}, "reasoning": object{"effort": "medium",
				"summary": "auto"}, "tool_choice": "auto",
			"input": []object{{"type": "message", "role": "user", "content": []object{{"type": "input_text", "text": words(r, 80)}}},
				{"type": "function_call", "call_id": "c", "name": "shell", "arguments": `{"command":["ls"]}`},
				{"type": "function_call_output", "call_id": "c", "output": words(r, 30)}},
			"tools": []object{{"type": "function", "name": "shell", "strict": false, "parameters": object{"type": "object",
				"properties": object{"command": object{"type": "array"}}}}}}
	}
	chat := func(r *rand.Rand) object {
		return object{"model": "gpt-5", "messages": []object{{"role": "system", "content": words(r, 9)}, {"role": "user",
			"content": []object{{"type": "text", "text": words(r, 40)},
				{"type": "image_url", "image_url": object{"url": "data:image/png;base64,iVBORw0KGgo="}}}}}, "temperature": 0.2}
	}
	return []variant{
		gets("responses of Codex", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://api.openai.com/v1/responses", header: openaiHead(codex),
				body: asJSON(response(r, id))}
		}),
		gets("chat completions", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://api.openai.com/v1/chat/completions", header: openaiHead(python),
				body: asJSON(chat(r))}
		}),
		gets("models", func(r *rand.Rand, id string) sending {
			return sending{url: "https://api.openai.com/v1/models" + any1(r, "", "/gpt-5"), header: openaiHead(python)}
		}),
		wrongly("a body that is coded is not judged; Codex has a switch (codex.toml)", gets("compressed responses of Codex",
			func(r *rand.Rand, id string) sending {
				return sending{method: "POST", url: "https://api.openai.com/v1/responses", header: append(openaiHead(codex),
					"Content-Encoding", "gzip"), body: gzipped1(asJSON(response(r, id)))}
			})),
		wrongly("the provider would keep it; the client's \"store\": false or a rule's server_tools = [\"store\"]",
			gets("responses that say nothing of store", func(r *rand.Rand, id string) sending {
				b := response(r, id)
				delete(b, "store")
				return sending{method: "POST", url: "https://api.openai.com/v1/responses", header: openaiHead(python), body: asJSON(b)}
			})),
	}
}

func geminiTraffic() []variant {
	head := func(r *rand.Rand) []string {
		return []string{"X-Goog-Api-Key", geminiShown, "Content-Type", "application/json", "User-Agent",
			"GeminiCLI/0.10.0 (linux; x64)", "X-Goog-Api-Client", "google-genai-sdk/1.16.0 gl-node/v20.20.2"}
	}
	body := func(r *rand.Rand) []byte {
		return asJSON(object{"contents": []object{{"role": "user", "parts": []object{{"text": words(r, 60)},
			{"inlineData": object{"mimeType": "image/png", "data": "iVBORw0KGgo="}}}}},
			"systemInstruction": object{"role": "user", "parts": []object{{"text": words(r, 20)}}},
			"tools": []object{{"functionDeclarations": []object{{"name": "read_file", "description": words(r, 5),
				"parametersJsonSchema": object{"type": "object"}}}}},
			"generationConfig": object{"temperature": 0, "topP": 1, "thinkingConfig": object{"includeThoughts": true}}})
	}
	return []variant{
		gets("content, streamed", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", header: head(r), body: body(r)}
		}),
		gets("content", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent", header: head(r), body: body(r)}
		}),
		gets("tokens are counted", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:countTokens",
				header: head(r), body: asJSON(object{"contents": []object{{"parts": []object{{"text": words(r, 9)}}}}})}
		}),
		wrongly("the provider would search; server_tools = [\"web_search\"]", gets("search at the provider", func(r *rand.Rand,
			id string) sending {
			return sending{method: "POST", url: "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent", header: head(r),
				body: asJSON(object{"contents": []object{{"parts": []object{{"text": words(r, 9)}}}},
					"tools": []object{{"googleSearch": object{}}}})}
		})),
	}
}

func packageTraffic() []variant {
	npm := []string{"User-Agent", "npm/11.19.1 node/v20.20.2 linux x64 workspaces/false", "Pacote-Version", "21.5.1",
		"Pacote-Req-Type", "packument", "Accept",
		"application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*", "Npm-Auth-Type", "web", "Npm-Command",
		"install", "Accept-Encoding", "gzip,deflate"}
	pip := []string{"User-Agent", `pip/23.2.1 {"ci":null,"cpu":"x86_64","implementation":{"name":"CPython","version":"3.11.7"},"openssl_version":"OpenSSL 3.0.19"}`,
		"Accept", "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
		"Accept-Encoding", "gzip, deflate", "Cache-Control", "max-age=0"}
	apt := []string{"User-Agent", "Debian APT-HTTP/1.3 (2.6.1)", "If-Modified-Since", "Sat, 15 Nov 2025 09:14:01 GMT",
		"Cache-Control", "max-age=0"}
	name := func(r *rand.Rand) string {
		return any1(r, "left-pad", "react", "lodash.merge", "requests", "numpy", "serde", "tokio", "node-gyp") + any1(r, "",
			"-"+lettersOf(r, 3))
	}
	return []variant{
		gets("npm: metadata", func(r *rand.Rand, id string) sending {
			return sending{url: "https://npm.example.com/" + name(r), header: npm}
		}),
		gets("npm: a scope", func(r *rand.Rand, id string) sending {
			return sending{url: "https://npm.example.com/@types" + any1(r, "%2f", "%2F", "/") + name(r), header: npm}
		}),
		gets("npm: an archive", func(r *rand.Rand, id string) sending {
			n := name(r)
			return sending{url: fmt.Sprintf("https://npm.example.com/%s/-/%s-1.%d.0.tgz", n, n, r.IntN(99)), header: npm}
		}),
		wrongly("the bundles allow reads alone, and npm goes on without it", gets("npm: audit", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://npm.example.com/-/npm/v1/security/advisories/bulk", header: slices.Concat(npm,
				[]string{"Content-Type", "application/json", "Content-Encoding", "gzip"}),
				body: gzipped1(asJSON(object{name(r): []string{"1.0.0"}}))}
		})),
		gets("pip: the index", func(r *rand.Rand, id string) sending {
			return sending{url: "https://index.example.com/simple/" + name(r) + "/", header: pip}
		}),
		gets("pip: a file, in ranges", func(r *rand.Rand, id string) sending {
			return sending{url: "https://files.example.com/packages/" + id[:2] + "/" + id + "/" + name(r) + "-1.0-py3-none-any.whl",
				header: slices.Concat(pip, []string{"Range", "bytes=0-10239"})}
		}),
		gets("cargo", func(r *rand.Rand, id string) sending {
			return sending{url: "https://crates.example.com/" + any1(r, "config.json", "se/rd/serde", "3/l/log",
				"api/v1/crates/serde/1.0.1/download"),
				header: []string{"User-Agent", "cargo/1.95.0", "Accept", "*/*", "Cargo-Protocol", "version=1", "Accept-Encoding", "gzip"}}
		}),
		gets("go", func(r *rand.Rand, id string) sending {
			return sending{url: "https://modules.example.com/" + any1(r, "example.com/x/@v/list",
				"github.com/!burnt!sushi/toml/@v/v1.2.1.zip", "example.com/x/@latest", "sumdb/sum.example.com/tile/8/0/x012/345"),
				header: []string{"User-Agent", "Go-http-client/1.1", "Accept-Encoding", "gzip"}}
		}),
		gets("apt, in clear text", func(r *rand.Rand, id string) sending {
			return sending{version: 1, url: "http://deb.example.com/debian/" + any1(r, "dists/bookworm/InRelease",
				"pool/main/g/git/git_2.39.5-0+deb12u2_amd64.deb", "dists/bookworm/main/binary-amd64/by-hash/SHA256/"+id), header: apt}
		}),
		gets("HEAD before a download", func(r *rand.Rand, id string) sending {
			return sending{method: "HEAD", url: "https://files.example.com/" + id + ".whl", header: pip}
		}),
	}
}

func gitHead(kind string) []string {
	head := []string{"User-Agent", "git/2.39.5", "Accept", "*/*", "Accept-Encoding", "deflate, gzip", "Pragma", "no-cache",
		"Git-Protocol", "version=2"}
	if kind != "" {
		head = append(head, "Content-Type", "application/x-git-"+kind+"-request")
		head[3] = "application/x-git-" + kind + "-result"
	}
	return head
}

func fetchTraffic() []variant {
	const base = "https://git.example.com/team/repo.git"
	wants := func(r *rand.Rand) []byte {
		text := pktLine("command=fetch") + pktLine("agent=git/2.39.5") + pktLine("object-format=sha1") + "0001" + pktLine("thin-pack") + pktLine("ofs-delta")
		for range 1 + r.IntN(40) {
			text += pktLine(fmt.Sprintf("want %040x\n", r.Uint64()))
		}
		return []byte(text + pktLine("done\n") + "0000")
	}
	return []variant{
		gets("what refs there are", func(r *rand.Rand, id string) sending {
			return sending{url: base + "/info/refs?service=git-upload-pack", header: gitHead("")}
		}),
		gets("wants", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: base + "/git-upload-pack", header: gitHead("upload-pack"), body: wants(r)}
		}),
		gets("many wants, compressed", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: base + "/git-upload-pack", header: append(gitHead("upload-pack"), "Content-Encoding",
				"gzip"), body: gzipped1(wants(r)), chunked: r.IntN(2) == 0}
		}),
		gets("the dumb protocol", func(r *rand.Rand, id string) sending {
			return sending{url: base + any1(r, "/info/refs", "/HEAD", "/objects/info/packs", "/objects/"+idA[:2]+"/"+idA[2:]),
				header: gitHead("")}
		}),
		gets("LFS: a download", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: base + "/info/lfs/objects/batch", header: []string{"Accept",
				"application/vnd.git-lfs+json", "Content-Type", "application/vnd.git-lfs+json; charset=utf-8", "User-Agent", "git-lfs/3.3.0"},
				body: asJSON(object{"operation": "download", "objects": []object{{"oid": strings.Repeat(id, 4), "size": r.IntN(1e6)}},
					"transfers": []string{"basic"}, "ref": object{"name": "refs/heads/main"}, "hash_algo": "sha256"})}
		}),
		gets("GitHub's API", func(r *rand.Rand, id string) sending {
			q := sending{url: "https://api.github.com/" + any1(r, "repos/o/r", "repos/o/r/pulls?state=open", "search/issues?q="+id),
				header: []string{"User-Agent", "gh/2.60.0", "Accept", "application/vnd.github+json"}}
			if r.IntN(2) == 0 {
				q.method, q.url, q.header = "POST", "https://api.github.com/graphql", append(q.header, "Content-Type", "application/json")
				q.body = asJSON(object{"query": "query PR($owner:String!){repository(owner:$owner,name:\"mutation\"){pullRequests(first:30){nodes{title body}}}}", "variables": object{"owner": id}})
			}
			return q
		}),
		gets("pages, archives, raw files", func(r *rand.Rand, id string) sending {
			return sending{url: "https://git.example.com/team/repo/" + any1(r, "archive/v1.0.tar.gz", "raw/main/README.md",
				"tree/feature%2Fx", "issues?q=is%3Aopen"), header: []string{"User-Agent", "curl/7.88.1", "Accept", "*/*"}}
		}),
	}
}

// pushOf is a push's body: commands and a pack.
func pushOf(pack []byte, commands ...string) []byte {
	var text strings.Builder
	for i, c := range commands {
		if i == 0 {
			c += "\x00 report-status-v2 side-band-64k object-format=sha1 agent=git/2.39.5"
		}
		text.WriteString(pktLine(c))
	}
	return append([]byte(text.String()+"0000"), pack...)
}

// newPack has n commits on old, with their trees' blobs, and gives the last one's id.
func newPack(r *rand.Rand, old string, n int) (pack []byte, tip string) {
	p := &testPack{}
	tip = old
	for range n {
		var text []byte
		if tip == "" {
			text, tip = commitOn(words(r, 9))
		} else {
			text, tip = commitOn(words(r, 9), tip)
		}
		p.add(1, text)
	}
	for range 1 + r.IntN(4) {
		p.add(3, []byte(words(r, 200)))
	}
	return p.bytes(), tip
}

func pushing(r *rand.Rand, id string, body []byte) sending {
	return sending{method: "POST", url: "https://code.example.com/team/" + id + ".git/git-receive-pack", body: body,
		chunked: r.IntN(3) == 0,
		header:  append(gitHead("receive-pack"), "Authorization", basic("x-access-token:"+gitShown))}
}

func pushTraffic() []variant {
	return []variant{
		gets("what refs there are", func(r *rand.Rand, id string) sending {
			return sending{url: "https://code.example.com/team/repo.git/info/refs?service=git-receive-pack",
				header: append(gitHead(""), "Authorization", basic("x-access-token:"+gitShown))}
		}),
		gets("git's probe", func(r *rand.Rand, id string) sending { return pushing(r, id, []byte("0000")) }),
		gets("a new branch", func(r *rand.Rand, id string) sending {
			pack, tip := newPack(r, "", 1+r.IntN(5))
			return pushing(r, id, pushOf(pack, idZero+" "+tip+" refs/heads/agent/"+id))
		}),
		gets("further commits", func(r *rand.Rand, id string) sending {
			pack, tip := newPack(r, idA, 1+r.IntN(9))
			return pushing(r, id, pushOf(pack, idA+" "+tip+" refs/heads/agent/"+id))
		}),
		gets("two branches", func(r *rand.Rand, id string) sending {
			pack, tip := newPack(r, idA, 2)
			return pushing(r, id, pushOf(pack, idA+" "+tip+" refs/heads/agent/"+id, idZero+" "+tip+" refs/heads/agent/"+id+"-2"))
		}),
		wrongly("the pack does not show the commits between: they are at the server already",
			gets("a branch moved to commits that the server has", func(r *rand.Rand, id string) sending {
				return pushing(r, id, pushOf((&testPack{}).bytes(), idA+" "+idB+" refs/heads/agent/"+id))
			})),
		gets("a fetch beside", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://code.example.com/team/repo.git/git-upload-pack",
				header: append(gitHead("upload-pack"), "Authorization", basic("x-access-token:"+gitShown)),
				body:   []byte(pktLine("command=ls-refs\n") + "0000")}
		}),
	}
}

func serviceTraffic() []variant {
	const base = "https://v1.example.com/v1/"
	return []variant{
		gets("reads", func(r *rand.Rand, id string) sending {
			return sending{url: base + any1(r, "items", "items/"+id, "items?page_token="+id+"&method=list", "%C3%BC", "a/b/c/d/"),
				header: []string{"User-Agent", any1(r, "curl/7.88.1", "node", "Python-urllib/3.11"), "Accept", "*/*"}}
		}),
		gets("JSON", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: base + "items", header: []string{"Content-Type", "application/json"},
				body: asJSON(object{"id": id, "text": words(r, 300), "method": "DELETE"}), chunked: r.IntN(2) == 0}
		}),
		gets("forms", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: base + "items", header: []string{"Content-Type", "application/x-www-form-urlencoded"},
				body: []byte("id=" + id + "&text=a%20b&the_method=x")}
		}),
		gets("an upload in parts", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: base + "files", header: []string{"Content-Type", "multipart/form-data; boundary=" + id},
				body: []byte("--" + id + "\r\nContent-Disposition: form-data; name=\"file\"; filename=\"method.txt\"\r\n\r\n" + words(r,
					99) + "\r\n--" + id + "--\r\n")}
		}),
		gets("as much as is allowed", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: base + "items", header: []string{"Content-Type", "application/octet-stream"},
				body: bytes.Repeat([]byte("a"), 64<<10)}
		}),
		wrongly("a slash that is written %2F divides segments for some servers", gets("a slash in a name", func(r *rand.Rand,
			id string) sending {
			return sending{url: base + "projects/group%2F" + id + "/issues"}
		})),
	}
}

// acts is a variant that is no plain request.
func acts(name string, act func(w *world, id string) error) variant {
	return variant{name: name, make: func(_ *rand.Rand, id string) trial {
		return trial{id: id, act: func(w *world) error { return act(w, id) }}
	}}
}

// upgraded asks for WebSocket, waits for the answer as RFC 6455 has it, and says something.
func (w *world) upgraded(host string, port uint16, path, said string, head ...string) (string, error) {
	tcp, err := w.connect(host, port)
	if err != nil {
		return "", err
	}
	var c halfCloser = tcp
	if port == httpsPort {
		if c, err = w.secured(tcp, host); err != nil {
			tcp.Close()
			return "", err
		}
	}
	if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"+strings.Join(head, "")+"\r\n"); err != nil {
		c.Close()
		return "", err
	}
	var answer []byte
	for b := make([]byte, 1); !bytes.HasSuffix(answer, []byte("\r\n\r\n")); answer = append(answer, b[0]) {
		if _, err := io.ReadFull(c, b); err != nil {
			c.Close()
			return string(answer), err
		}
	}
	rest, err := says(c, said)
	return string(answer) + rest, err
}

func wantStatus(answer string, err error, status string) error {
	switch {
	case err != nil:
		return err
	case !strings.HasPrefix(answer, "HTTP/1.1 "+status):
		return fmt.Errorf("%w: %.60q", errRefused, answer)
	}
	return nil
}

func webTraffic() []variant {
	hosts := func(r *rand.Rand) string {
		return any1(r, "http://docs.example.com/", "https://docs.example.com/", "http://web.example.com/", "https://web.example.com/")
	}
	chrome := []string{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8",
		"Accept-Encoding", "gzip, deflate, br, zstd", "Cookie", "session=abc; theme=dark", "Sec-Fetch-Mode", "navigate",
		"Upgrade-Insecure-Requests", "1"}
	return []variant{
		gets("pages", func(r *rand.Rand, id string) sending {
			return sending{url: hosts(r) + id + "?q=a%20b;c", header: chrome}
		}),
		gets("any method", func(r *rand.Rand, id string) sending {
			return sending{method: any1(r, "PUT", "DELETE", "PATCH", "OPTIONS"), url: hosts(r) + id, body: []byte(words(r, 20)),
				header: []string{"Content-Type", "text/plain"}}
		}),
		gets("odd paths", func(r *rand.Rand, id string) sending {
			return sending{url: hosts(r) + any1(r, "a//b/", "a%2Fb", "~user/;v=1", "%E0%A4", "a/./b", "(x)!*'") + "?" + id, header: chrome}
		}),
		gets("trailers", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://web.example.com/" + id, body: []byte("grpc"), chunked: true,
				trailer: http.Header{"Grpc-Status": {"0"}}, header: []string{"Content-Type", "application/grpc"}}
		}),
		gets("long heads", func(r *rand.Rand, id string) sending {
			return sending{url: hosts(r) + id, header: []string{"Cookie", "a=" + strings.Repeat("x", 12<<10), "X-Request-Id", id}}
		}),
		acts("HTTP/1.0", func(w *world, id string) error {
			answer, err := w.raw("docs.example.com", 80, "GET /"+id+" HTTP/1.0\r\n\r\n")
			if err == nil && !strings.Contains(answer, " 200 ") {
				err = errRefused
			}
			return err
		}),
		acts("pipelined requests", func(w *world, id string) error {
			one := "GET /" + id + " HTTP/1.1\r\nHost: docs.example.com\r\n\r\n"
			answer, err := w.raw("docs.example.com", 80, one+one+one)
			if err == nil && strings.Count(answer, "HTTP/1.1 200 ") != 3 {
				err = errRefused
			}
			return err
		}),
		acts("curl that expects 100", func(w *world, id string) error {
			answer, err := w.raw("web.example.com", 443,
				"POST /"+id+" HTTP/1.1\r\nHost: web.example.com\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
			return wantStatus(strings.ReplaceAll(answer, "HTTP/1.1 100 Continue\r\n\r\n", ""), err, "200") // the door's and the server's
		}),
		acts("WebSocket, inspected", func(w *world, id string) error {
			answer, err := w.upgraded("web.example.com", 443, "/"+id, frame(wsText, [4]byte{1, 2, 3, 4}, "hello"),
				"Sec-WebSocket-Extensions: permessage-deflate\r\n")
			return wantStatus(answer, err, "101")
		}),
		acts("WebSocket in a tunnel of the proxy", func(w *world, id string) error {
			answer, err := w.throughProxy("docs.example.com:443", "docs.example.com", 443,
				"GET /"+id+" HTTP/1.1\r\nHost: docs.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			return wantStatus(answer, err, "101")
		}),
		acts("connections that are opened ahead", func(w *world, id string) error {
			c, err := w.connect("docs.example.com", 443)
			if err != nil {
				return err
			}
			defer c.Close()
			if id[0] < 'm' {
				return nil
			}
			_, err = w.secured(c, "docs.example.com")
			return err
		}),
		acts("ssh", func(w *world, id string) error {
			answer, err := w.raw("ssh.example.com", 22, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"+id)
			if err == nil && answer != "SSH-2.0-server\r\nSSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"+id {
				err = fmt.Errorf("%q", answer)
			}
			return err
		}),
		acts("a database through the proxy", func(w *world, id string) error {
			_, err := w.throughProxy("ssh.example.com:5432", "", 5432, "\x00\x00\x00\x08\x04\xd2\x16\x2f"+id)
			return err
		}),
		wrongly("what browsers send for noise looks like a hello that hides its name; they have a switch",
			acts("a browser's GREASE for ECH, in a tunnel", func(w *world, id string) error {
				return w.greased("docs.example.com", id)
			})),
	}
}

// greased sends a hello with an encrypted_client_hello extension, and wants to reach the real server: an alert of it, for the
// hello is not one that a handshake follows on.
func (w *world) greased(host, id string) error {
	c, err := w.connect(host, 443)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(hello(sni(host), ext(extECH, []byte("\x00"+id)))); err != nil {
		return err
	}
	answer := make([]byte, 7)
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	return nil
}

func nameTraffic() []variant {
	return []variant{
		acts("both kinds of address", func(w *world, id string) error {
			if _, err := w.resolve("docs.example.com"); err != nil {
				return err
			}
			m, err := w.ask("docs.example.com", dnsmessage.TypeAAAA)
			if err == nil && m.RCode != 0 {
				err = errRefused
			}
			return err
		}),
		acts("other spellings", func(w *world, id string) error {
			_, err := w.resolve("DOCS.Example.COM.")
			return err
		}),
		acts("HTTPS records", func(w *world, id string) error {
			m, err := w.ask("docs.example.com", typeHTTPS)
			if err == nil && m.RCode != 0 {
				err = errRefused
			}
			return err
		}),
		gets("below a wildcard", func(r *rand.Rand, id string) sending {
			return sending{url: any1(r, "http://", "https://") + any1(r, "a", "img.eu", "x-1.y_2") + ".cdn.example.net/" + id}
		}),
	}
}
