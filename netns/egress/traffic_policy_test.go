package egress

// The secrets of the traffic: what the real servers take, and what the jail has in its place.
const (
	openaiReal  = "sk-proj-k3VtrueTrue8trueTrue3trueTrue9trueTrueTrueT1"
	openaiShown = "sk-proj-b8QfaceFace1faceFace7faceFace2faceFaceFaceF4"
	geminiReal  = "AIzaSyD3goldGold5goldGold9goldGold1gold"
	geminiShown = "AIzaSyZ8leadLead2leadLead6leadLead4lead"
)

func trafficSecrets() values {
	return values{"anthropic": apiReal, "openai": openaiReal, "gemini": geminiReal, "forge": gitReal}
}

// trafficPolicy has a rule of each kind that the built-in profiles and the manual have. The names of its rules are the column
// "judged by".
func trafficPolicy() *Policy {
	web := []uint16{80, 443}
	rules := []Rule{
		{Host: "api.anthropic.com", Ports: []uint16{443}, API: "anthropic", Why: "api"},
		{Host: "api.openai.com", Ports: []uint16{443}, API: "openai", Why: "api"},
		{Host: "generativelanguage.googleapis.com", Ports: []uint16{443}, API: "gemini", Why: "api"},
		{Host: "git.example.com", Ports: []uint16{443}, Git: "fetch", Why: "git"},
		{Host: "api.github.com", Ports: []uint16{443}, API: "github", Why: "git"},
		{Host: "code.example.com", Ports: []uint16{443}, Git: "push", PushRefs: []string{"agent/*"}, Why: "push"},
		{Host: "v1.example.com", Ports: web, Methods: []string{"GET", "HEAD", "POST"}, Paths: []string{"/v1/**"},
			MaxRequest: 64 << 10, Why: "strict"},
		{Host: "web.example.com", Ports: web, TLS: "inspect", Why: "inspect"},
		{Host: "docs.example.com", Ports: web, Why: "host"},
		{Host: "ssh.example.com", Ports: []uint16{22, 5432}, Why: "host"},
		{Host: "*.cdn.example.net", Ports: web, Why: "wildcard"},
		{Host: "*.rebind.example.net", Ports: web, Why: "wildcard"},
		{Host: "*.inner.example.net", Ports: web, Why: "wildcard"},
	}
	// What the bundles make of npm, pip, cargo, go and apt.
	for _, host := range []string{"npm.example.com", "index.example.com", "files.example.com", "crates.example.com",
		"modules.example.com", "deb.example.com"} {
		rules = append(rules, Rule{Host: host, Ports: web, Methods: []string{"GET", "HEAD"}, Why: "read"})
	}
	secret := func(name, shown, host, header string) Secret {
		return Secret{Name: name, Placeholder: shown, Hosts: []string{host}, Header: header, Pin: true, Why: "test"}
	}
	return &Policy{
		Profile: "traffic", Explain: true, Allow: rules,
		Deny: []Rule{{Host: "private.cdn.example.net", Why: "deny"}},
		Secrets: []Secret{
			secret("anthropic", apiShown, "api.anthropic.com", "x-api-key"),
			secret("openai", openaiShown, "api.openai.com", ""),
			secret("gemini", geminiShown, "generativelanguage.googleapis.com", "x-goog-api-key"),
			secret("forge", gitShown, "code.example.com", ""),
		},
	}
}
