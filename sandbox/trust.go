package sandbox

import (
	"path"
	"slices"
	"strings"
)

// The explaining answer over TLS, and rules with a CA of their own, need the jail's programs to believe the session's CA. No one
// place serves them all (measured on Debian 12): a bundle over the system's path serves curl, git, wget, openssl, Go, cargo and
// Python's ssl; Java reads a PKCS#12 of its own; Node, requests and pip read what variables name. Together they reach everything.

// systemStores are where distributions keep the bundle that programs read.
var systemStores = []struct{ path, format, why string }{
	{"/etc/ssl/certs/ca-certificates.crt", "pem", "Debian, Arch, Gentoo, Alpine"},
	{"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "pem", "Fedora"},
	{"/etc/pki/tls/certs/ca-bundle.crt", "pem", "Fedora"},
	{"/etc/ssl/ca-bundle.pem", "pem", "openSUSE"},
	{"/etc/ssl/cert.pem", "pem", "Alpine"},
	{"/etc/pki/tls/cert.pem", "pem", "Fedora"},
	{"/etc/ssl/certs/java/cacerts", "pkcs12", "Java on Debian"},
	{"/etc/pki/ca-trust/extracted/java/cacerts", "pkcs12", "Java on Fedora"},
	{"/etc/ca-certificates/extracted/tls-ca-bundle.pem", "pem", "Arch"},
}

// Where the jail's own stores stand. They lie in the read-only root.
const (
	storeDir     = "/etc/agentjail"
	storeBundle  = storeDir + "/ca-bundle.pem" // the system's authorities and the additions
	storeSession = storeDir + "/session.pem"   // the additions alone
)

// storeVars name, for one program each, the bundle that is used instead of the system's. Where the caller's environment points one
// elsewhere (a company's CA), that file is what the additions are joined to.
var storeVars = []struct{ name, why string }{
	{"SSL_CERT_FILE", "OpenSSL, Go, Rust, Python"},
	{"NIX_SSL_CERT_FILE", "Nix"},
	{"CURL_CA_BUNDLE", "curl"},
	{"GIT_SSL_CAINFO", "git"},
	{"REQUESTS_CA_BUNDLE", "Python's requests"},
	{"PIP_CERT", "pip"},
	{"AWS_CA_BUNDLE", "AWS SDKs"},
	{"CARGO_HTTP_CAINFO", "cargo"},
	{"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "gRPC"},
	{"HTTPLIB2_CA_CERTS", "Python's httplib2"},
	{"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", "gcloud"},
}

// extraVars name authorities beside the program's own.
var extraVars = []struct{ name, why string }{
	{"NODE_EXTRA_CA_CERTS", "Node"},
	{"DENO_CERT", "Deno"},
}

// trust plans the stores. Without a door there is nobody whose certificate would need them.
func (w *planner) trust() {
	if w.plan.Net.Mode.Value == "none" {
		return
	}
	system := ""
	for _, s := range systemStores {
		p, err := follow(w.files, s.path)
		if err != nil || !p.info.Mode().IsRegular() || !w.tree.shows(p.path) {
			continue
		}
		if system == "" && s.format == "pem" {
			system = p.path
		}
		w.store(p.path, p.path, s.format, s.why)
	}
	w.javaStores()
	w.store(storeBundle, system, "pem", "what the variables name")
	w.store(storeSession, "", "pem", "what NODE_EXTRA_CA_CERTS names")
}

// store adds a store once.
func (w *planner) store(target, source, format, why string) {
	if !slices.ContainsFunc(w.plan.Trust, func(s TrustStore) bool { return s.Target == target }) {
		w.plan.Trust = append(w.plan.Trust, TrustStore{Target: target, Source: source, Format: format, Why: why})
	}
}

// javaStores finds the cacerts of a JDK that was bound with the tools; those below /usr link to the system's.
func (w *planner) javaStores() {
	for _, home := range []string{w.host.getenv("JAVA_HOME"), "/usr/lib/jvm/default-java", "/usr/lib/jvm/default", "/usr/lib/jvm/default-jvm"} {
		if !path.IsAbs(home) {
			continue
		}
		p, err := follow(w.files, path.Join(home, "lib/security/cacerts"))
		if err == nil && p.info.Mode().IsRegular() && w.tree.shows(p.path) {
			w.store(p.path, p.path, "pkcs12", "Java in "+home)
		}
	}
}

// trustEnv sets the variables. A bundle of the caller's own gets a store of its own, so that what works outside works in the jail.
func (w *planner) trustEnv(e *environment) {
	if w.plan.Net.Mode.Value == "none" {
		return
	}
	for _, v := range storeVars {
		e.set(v.name, w.storeFor(v.name, storeBundle), "authorities for "+v.why)
	}
	for _, v := range extraVars {
		e.set(v.name, w.storeFor(v.name, storeSession), "further authorities for "+v.why)
	}
	// npm's cafile replaces Node's list and NODE_EXTRA_CA_CERTS with it; a setting in a file is only beaten by the variable.
	if source := w.npmCafile(); source != "" {
		target := storeDir + "/npm.pem"
		w.store(target, source, "pem", "npm's cafile")
		e.set("npm_config_cafile", target, "authorities for npm, whose settings name a cafile")
	}
}

// storeFor gives the store that a variable names: one made from the file that the caller's variable names, or otherwise.
func (w *planner) storeFor(name, otherwise string) string {
	value := w.host.getenv(name)
	if !path.IsAbs(value) {
		return otherwise
	}
	p, err := follow(w.files, path.Clean(value))
	if err != nil || !p.info.Mode().IsRegular() {
		w.note("%s=%s: no such file; it is left out", name, value)
		return otherwise
	}
	for _, s := range w.plan.Trust {
		if s.Format == "pem" && s.Source == p.path && within(s.Target, storeDir) {
			return s.Target
		}
	}
	target := storeDir + "/" + strings.ToLower(name) + ".pem"
	w.store(target, p.path, "pem", name)
	return target
}

// npmCafile reads the one setting of npm's that matters here: from the environment, the user's or the system's file.
func (w *planner) npmCafile() string {
	names := []string{w.host.getenv("NPM_CONFIG_CAFILE"), w.host.getenv("npm_config_cafile")}
	for _, file := range []string{path.Join(w.host.Home, ".npmrc"), "/etc/npmrc", "/usr/etc/npmrc", "/usr/local/etc/npmrc"} {
		data, err := w.files.ReadFile(file, 64<<10)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			if key, value, ok := strings.Cut(line, "="); ok && strings.TrimSpace(key) == "cafile" {
				names = append(names, strings.Trim(strings.TrimSpace(value), `"'`))
			}
		}
	}
	for _, name := range names {
		if path.IsAbs(name) && isFile(w.files, name) {
			return path.Clean(name)
		}
	}
	return ""
}
