package egress

import "time"

// Reason is why the door refused something: one word of a closed list.
type Reason string

// The reasons.
const (
	NotAllowed   Reason = "not_allowed"   // no rule allows the host
	Port         Reason = "port"          // a rule allows the host, but not on this port
	SNIMismatch  Reason = "sni_mismatch"  // the ClientHello names another host than the connection was opened for
	HostMismatch Reason = "host_mismatch" // the Host header or request target names another host
	NoSNI        Reason = "no_sni"        // TLS without a server name, or with an encrypted one
	BadName      Reason = "bad_name"      // not a host name in canonical form
	NumericHost  Reason = "numeric_host"  // an IP address, in any spelling, where a name is needed
	NonPublic    Reason = "non_public"    // the name resolves to an address that the dial guard refuses
	BadAddress   Reason = "bad_address"   // an address of the range that stands for no name
	BadRequest   Reason = "bad_request"   // not HTTP or TLS where that is needed, or ambiguous HTTP
	Resolve      Reason = "resolve"       // the host could not resolve the name
	Dial         Reason = "dial"          // the host could not reach the address
	BadResponse  Reason = "bad_response"  // the real server was reached and did not answer as HTTP has it
	Busy         Reason = "busy"          // a cap of the session is reached
	Timeout      Reason = "timeout"       // the jail's side did not send what it had to in time

	// Where requests are seen.
	ClientTrust       Reason = "client_trust"       // the client does not accept the certificate with which the door answers
	UpstreamTLS       Reason = "upstream_tls"       // the real server's certificate or TLS is not what it must be
	Method            Reason = "method"             // the rule does not allow the method
	Path              Reason = "path"               // the rule does not allow the path, or it has two spellings
	Size              Reason = "size"               // the rule allows less than was sent
	GitPush           Reason = "git_push"           // the rule does not allow this push, or any
	ModelAPI          Reason = "model_api"          // the rule does not allow what the body or a header asks of a model API
	ForeignCredential Reason = "foreign_credential" // another credential than the session's, on a host that is pinned
	PlaceholderLeak   Reason = "placeholder_leak"   // the placeholder of a secret on its way to a host that is not the secret's
	Revoked           Reason = "revoked"            // the secret may not be used any more
	NoSecret          Reason = "no_secret"          // the source of the secret gives no usable value
	Encoding          Reason = "encoding"           // an answer that may hold a secret is encoded so that the door cannot read it
	NoGit             Reason = "git"                // the rule does not allow git
)

// Event is one thing that the door did or refused. Strings that came from the jail are as sent; whoever prints them escapes them.
type Event struct {
	Time   time.Time `json:"time"`
	Kind   string    `json:"event"` // net.open, net.close, net.deny, dns.deny, http.request, http.deny, secret.use, secret.foreign
	Host   string    `json:"host,omitempty"`
	Port   uint16    `json:"port,omitempty"`
	Addr   string    `json:"addr,omitempty"`   // the dialled address
	Reason Reason    `json:"reason,omitempty"` // of a deny
	Detail string    `json:"detail,omitempty"`
	Up     int64     `json:"bytes_up,omitempty"`   // from the jail
	Down   int64     `json:"bytes_down,omitempty"` // to the jail
	Method string    `json:"method,omitempty"`
	Path   string    `json:"path,omitempty"`
	Status int       `json:"status,omitempty"`
	Secret string    `json:"secret,omitempty"` // its name
}

// HostCount is what went to and from one host and port.
type HostCount struct {
	Host        string `json:"host"`
	Port        uint16 `json:"port"`
	Connections int64  `json:"connections"`
	Up          int64  `json:"bytes_up"`
	Down        int64  `json:"bytes_down"`
}

// DenialCount is how often one host and port was refused for one reason.
type DenialCount struct {
	Host   string `json:"host"`
	Port   uint16 `json:"port"`
	Reason Reason `json:"reason"`
	Count  int64  `json:"count"`
}

// SecretCount is how often a secret was put into a request, and how often another credential was refused beside it.
type SecretCount struct {
	Name    string `json:"name"`
	Uses    int64  `json:"uses"`
	Foreign int64  `json:"foreign_blocked"`
}
