// Package egress answers one question: which hosts, which requests?
package egress

// Policy is what the door decides by. It is data: it prints as JSON and is made before anything runs.
type Policy struct {
	Profile string `json:"profile"` // named in explanations
	Allow   []Rule `json:"allow"`
	Deny    []Rule `json:"deny,omitempty"` // wins over Allow
	Explain bool   `json:"explain"`        // a name that is not allowed resolves to the explaining address; else NXDOMAIN
}

// Rule allows (or denies) one host pattern on some ports.
type Rule struct {
	Host  string   `json:"host"`            // canonical: lower case, A-labels, no trailing dot; "*.example.com" for subdomains at any depth
	Ports []uint16 `json:"ports,omitempty"` // in Allow never empty; in Deny empty means every port
	// Private: the name may resolve to a loopback, private, link-local or own address.
	Private bool `json:"private,omitempty"`
	// Connect is the IP:PORT that is dialled instead of the name's own address; the rule itself names it, so the guard lets it pass.
	Connect string `json:"connect,omitempty"`
	// UpstreamCA is PEM that vouches for the real server beside the host's roots. Tunnel mode: the jail's trust store gets it.
	UpstreamCA []byte `json:"upstream_ca,omitempty"`
	Why        string `json:"why"`
}
