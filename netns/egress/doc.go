// Package egress answers one question: which hosts, which requests? It is the door of the jail, the one way out.
//
// The package has two halves. The core decides and touches nothing: names, rules, the ClientHello, DNS messages and addresses go in,
// verdicts come out, and each parser that faces the jail is fuzzed. The door listens, asks the core and dials. Neither knows how its
// sockets came to be: no netlink, no namespaces, no cgo.
//
// # From a policy to a decision
//
// A [Policy] is data: rules that allow, rules that deny. [ParseRule] and [ParseDeny] read what people write, [Policy.Compile] checks
// every rule and gives a [Matcher]. What is not allowed is refused, deny wins, and an empty Allow allows nothing. A wildcard
// ("*.example.com") matches subdomains at any depth and not example.com; one over a public suffix, private ones such as github.io
// included, is refused, because names below it belong to anybody. See [Matcher.Decide] for which of several rules decides.
//
// # Identity: one name, one spelling
//
// A connection names its host up to five times: the address that it was opened to, the CONNECT target, the SNI, the Host header,
// the request target. Each is brought to the form of [Canonical] before it is looked at, and all must be equal; a name that has no
// canonical form (an address in any spelling, bytes that are not ASCII, escapes) is refused before anything is matched.
//
// # Names and addresses
//
// [DNS] answers allowed names with an address of the jail's own range that stands for this name alone ([Names]). A listener on all
// addresses of the range therefore sees in the local address which name the client meant, whatever protocol it speaks. Assignments
// are never reused in a session. Nothing is forwarded: a name is resolved on the host only when an allowed connection is dialled.
//
// A refused name resolves to the explaining address, where the door says why; with Policy.Explain false it does not exist.
//
// # TLS
//
// [ReadHello] reads the ClientHello without a byte more and keeps it for replay. The door compares its SNI with the host that the
// connection was opened for.
//
// A hello with an encrypted_client_hello extension (RFC 9849) is refused as [NoSNI] where TLS is tunnelled. Its visible SNI may be
// the public name of a provider and its true name any other host of that provider, and DNS gives no keys, so a client that has some
// brought them along. The extension may also be GREASE (RFC 9849 section 6.2), noise that servers ignore; it is made so that
// nobody on the path can tell, and it cannot be taken out, for it is part of the handshake's transcript. Of the clients, curl,
// git, OpenSSL, Go, node, Python and Java send it only when told to; Chromium sends it unless its policy EncryptedClientHelloEnabled
// is false, Firefox unless security.tls.ech.grease_probability is 0. Where the door itself terminates TLS the extension is harmless:
// it holds no key for it, so the visible SNI is the name.
//
// # Dialling
//
// [Guard] judges each address that a name resolved to, and again the address of the socket that is about to connect, so a name that
// changes its answer between the two gains nothing. It refuses everything that is not public: loopback, private, link-local,
// carrier-grade NAT, multicast, reserved, documentation and metadata addresses, the host's own, and IPv6 forms that carry such an
// IPv4 address. A rule's Private lets private ones pass but never metadata; a rule's Connect is the user's own word and is not judged.
// (VPN clients that answer names from 198.18.0.0/15 on the host make every name private: such hosts need Private.)
//
// # The door
//
// [New] makes a [Door] of a [Config]; [Door.Serve] takes TCP listeners that accept on every address of the range, one for each of
// [Door.Ports], and [Door.ServeDNS] the UDP socket of the gateway address. The address that a connection was opened to says what it
// is: port 53 of the gateway address is DNS, its port 3128 the proxy (CONNECT and absolute-form HTTP), the explaining address an
// explanation, the address of a name that name. [Limits] bound each thing that the jail can make the door hold: connections,
// those among them that are only told why, and the bytes of heads and hellos that nobody finishes.
//
// The door ends when it is told to, whatever the peers do: clients and real servers are reset, and what the end cut off is not
// recorded as refused. A client that has shut its side down after a whole request still gets its answer, in clear text by FIN, inside of
// TLS 1.3 by close_notify; one that is gone is found out by RST, by the end of TCP below TLS, by what is sent to it, or by keep-alive
// probes. Where it has sent more behind its request, only the last two tell.
//
// # Inspection
//
// A rule about requests (TLS "inspect", Methods, Paths, Git, API, MaxRequest, MaxUpload) or a [Secret] of the host needs requests to be
// seen. TLS then ends at the door, under a leaf of the session's [CA], in HTTP/1.1 or HTTP/2, and begins anew towards the real
// server, whose certificate is verified against the host's roots and the rule's UpstreamCA. A client's HTTP/1 stays HTTP/1 on the way;
// its HTTP/2 becomes what the server speaks. There is no way from here to a tunnel: a
// client that does not take the leaf is refused and the log says [ClientTrust]; a server that does not prove its name is not sent
// the request ([UpstreamTLS]). Nothing is dialled before a request was allowed. The rule that [Matcher.Decide] gives is the one that
// judges, alone; its port 80 is judged as its port 443 is, and its other ports are TLS or HTTP and nothing else.
//
// Each request and each stream is judged by itself, in this order: who is meant (fake address, SNI, Host or :authority, target: else
// 421), method and path, sizes, git, the model API, and on the request as it goes out the secrets. HTTP/1 inside TLS passes the same
// strict reading as in clear text.
//
// Paths are globs on the canonical path, percent escapes decoded once. "*" stands within one segment and is at least one byte where
// it is a whole one: /v1/models/* is neither /v1/models/ nor /v1/models/a/b. "**" stands for any number of whole segments: /v1/** is /v1
// and all below it. A path that can be read in two ways is refused where a rule has Paths. Methods are compared byte by byte; GET does
// not imply HEAD. Fields, parameters and forms that ask a server to take a request for another method's, path's or host's are refused
// or taken out. MaxRequest bounds one request's body, its trailers and what follows an upgrade; MaxUpload sums up all that the
// session sends under the rule, heads too.
//
// # What the core does not do
//
//   - It does not see inside a tunnel. After the first ClientHello the bytes are the client's and the server's: a server that
//     answers for several hosts, and does not compare Host with SNI, serves any of them to a client that asks (domain fronting).
//     The second hello of a HelloRetryRequest (RFC 8446 section 4.1.4) may name another host of the same server, too. Rules that
//     must tell requests apart need inspection.
//   - It does not know about network-specific NAT64 prefixes (RFC 6052 section 2.2), nor a public address that the host's router
//     forwards back to it: neither is visible on the host's interfaces.
//   - It does not limit how much an allowed host is told, but by MaxUpload.
//   - It cannot make a server read a request's body. One that answers before that and keeps the connection takes the rest for a request that
//     nobody has judged, and its answer may come for the next one (request smuggling, CL.0).
//   - On a pinned host it knows another's credential by the name or the look of what holds it: in headers, the query, the beginning of forms
//     and the outer objects of JSON. In other bodies, in compressed ones and under a name that says nothing it finds none.
//   - It knows the fields by which frameworks and proxies are told another method or path by the words in their names, not those that a
//     server has made up, and looks for a method into forms, not into JSON.
//   - Where it inspects, it has no client certificate to show. Request trailers of HTTP/2 that were not announced are dropped
//     (net/http), and after another 1xx answer a client over HTTP/2 gets no 100. Of a chunk of HTTP/1 that has begun and is not whole it
//     holds up to 32 KiB back. For an answer behind more than 10,000 others of 1xx it does not wait. An answer without a length ends where
//     its connection does, with close_notify or without, as for most clients: who can cut that connection can cut the answer short.
//   - It looks for placeholders on their way to other hosts, and for values on their way back, in text, WebSocket frames and gzip (on the way
//     out deflate, too): as they are, in base64 and hexadecimal, in UTF-16, each with the escapes of URLs, JSON, C and HTML, twice over, the
//     encoded ones broken into lines, too; for placeholders also in base64 of base64, of hexadecimal and of UTF-16. It does not look into br,
//     zstd (an answer in these is refused when the request carried the secret), packs of git, archives, pieces (a half in each of two
//     messages, ranges that were not asked for with the secret), other cases of letters, ciphers, and a tunnel. There a placeholder
//     opens nothing; a value gets there only when its own host puts it there. Values are known before the first answer, but for what [Config.Known] cannot give: one that the source has
//     changed to and nobody has asked for since.
//   - It does not know what a server has: a fast-forward that the commits of the push itself do not show is refused as a forced update
//     is (PushRefs). Where SHA-1 collides it takes the one commit for the other; git's own servers notice.
//   - It does not know Unicode's equivalences: a path rule compares bytes of UTF-8, and a server that normalizes may read another
//     path.
package egress
