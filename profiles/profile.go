package profiles

// Item is one wish and the place where it was made, so that a plan can say why each of its lines is there.
type Item struct {
	Value string `json:"value"`
	Why   string `json:"why"` // "claude.toml: fs.write[0]", "--rw", "built in: default: env.pass[0]"
}

// builtInWhy starts the Why of every wish that a built-in profile makes.
const builtInWhy = "built in: "

// Profile is what is wished, merged from files and flags. It holds words, not facts: paths may start with ~ or be relative to
// the project, bundles (@npm) are still names, and nothing has been looked up on the machine.
type Profile struct {
	Name        string   `json:"name"` // the names that were merged, joined by "+"
	Description string   `json:"description,omitempty"`
	Match       []string `json:"match,omitempty"`   // command base names that choose this profile
	Extends     []string `json:"extends,omitempty"` // of one file; Library.Load resolves it, so a loaded profile has none
	FS          FS       `json:"fs"`
	Net         Net      `json:"net"`
	Limits      Limits   `json:"limits"`
	Syscalls    []Item   `json:"syscalls,omitempty"` // groups on top of the base policy
	Env         Env      `json:"env"`
	Secrets     []Secret `json:"secrets,omitempty"`
	Use         []Item   `json:"use,omitempty"` // names of secrets that must be there (--secret); of the others only those are on that are
}

// FS is what is wished of the host's file system.
type FS struct {
	Read      []Item `json:"read,omitempty"`      // bound read-only
	Write     []Item `json:"write,omitempty"`     // bound read-write
	Hide      []Item `json:"hide,omitempty"`      // patterns in the project that are not readable
	Protect   []Item `json:"protect,omitempty"`   // in the project: not writable, not renamable
	Unprotect []Item `json:"unprotect,omitempty"` // taken out of the protected list
	Copy      []Item `json:"copy,omitempty"`      // copied into the private home at start, never back
	Home      Item   `json:"home"`                // "ephemeral" or "persistent"; "" when nobody said
}

// Net is what is wished of the network.
type Net struct {
	Mode     Item   `json:"mode"`            // "door" or "none"; "" when nobody said
	Denied   Item   `json:"denied"`          // "explain" or "nxdomain"; "" when nobody said
	ProxyEnv Item   `json:"proxy_env"`       // "true", "false" or ""
	Allow    []Item `json:"allow,omitempty"` // HOST, HOST:PORT, *.HOST, @bundle; empty: nothing is allowed
	Deny     []Item `json:"deny,omitempty"`  // HOST, HOST:PORT, *.HOST
	Rules    []Rule `json:"rules,omitempty"`
}

// Rule is one [[net.rule]]: it allows its host and says how the host is reached.
type Rule struct {
	Host       string `json:"host"`
	Ports      []int  `json:"ports,omitempty"` // empty: 80 and 443
	Private    bool   `json:"private,omitempty"`
	Connect    string `json:"connect,omitempty"`     // IP:PORT dialled instead of the name's own address
	UpstreamCA string `json:"upstream_ca,omitempty"` // PEM file that vouches for the real server

	// What requests may ask for. Any of these, TLS "tunnel" excepted, needs the door to look into TLS.
	TLS         string   `json:"tls,omitempty"`     // "tunnel", "inspect" or "": as the others need it
	Methods     []string `json:"methods,omitempty"` // empty: all
	Paths       []string `json:"paths,omitempty"`   // globs; empty: all
	Git         string   `json:"git,omitempty"`     // "fetch", "push", "none" or ""
	PushRefs    []string `json:"push_refs,omitempty"`
	MaxRequest  string   `json:"max_request,omitempty"` // as written: "4MiB"
	MaxUpload   string   `json:"max_upload,omitempty"`
	API         string   `json:"api,omitempty"` // one of APIs
	ServerTools []string `json:"server_tools,omitempty"`

	Why string `json:"why"`
}

// Secret is one [[secret]]: a credential that stays outside. The jail has a placeholder in a variable, in a copied file or in both.
type Secret struct {
	Name    string   `json:"name"`
	Env     string   `json:"env,omitempty"`     // the variable that holds the placeholder
	File    string   `json:"file,omitempty"`    // a file of the home that is copied with the placeholder in it
	Pointer string   `json:"pointer,omitempty"` // where in File, and in From when that is a file, the value stands (RFC 6901); "": the whole file
	From    string   `json:"from"`              // where the value is: see Source
	Hosts   []string `json:"hosts"`             // who gets the value; none: nobody
	Header  string   `json:"header,omitempty"`  // "Authorization: Bearer" (also when empty), "x-api-key", "query:key"
	Pin     bool     `json:"pin"`               // any other credential on these hosts is refused
	TTL     string   `json:"ttl,omitempty"`     // how long the session may use it; "": as long as it lasts
	Cache   string   `json:"cache,omitempty"`   // how long the answer of a command or keyring is good; "": 5 minutes
	Why     string   `json:"why"`
}

// Limits are the wished limits as they were written ("8GiB", "4096", "2.0", "8h"); checked when the profile is read.
type Limits struct {
	Memory Item `json:"memory"`
	Pids   Item `json:"pids"`
	CPUs   Item `json:"cpus"`
	Files  Item `json:"files"`
	Wall   Item `json:"wall"`
}

// Env is what is wished of the environment.
type Env struct {
	Pass []Item   `json:"pass,omitempty"` // names and globs (LC_*)
	Set  []EnvSet `json:"set,omitempty"`
}

// EnvSet sets one variable.
type EnvSet struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Why   string `json:"why"`
}
