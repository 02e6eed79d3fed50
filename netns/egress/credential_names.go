package egress

import (
	"slices"
	"strings"
)

// isCarrier says whether the header field of this name holds a credential. Names are compared as CGI programs see them: to those
// X_Api_Key is X-Api-Key (RFC 3875 section 4.1.18).
func isCarrier(name string) bool {
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	switch name {
	case "cookie", "key", "session", "auth", "authentication", "x-amz-security-token", "x-auth-user", "x-auth-email":
		return true
	case "idempotency-key", "x-idempotency-key", "sec-websocket-key", "x-session-affinity":
		return false
	}
	return isCredential(name) || strings.HasSuffix(name, "-key") || strings.HasSuffix(name, "-authentication") || strings.HasPrefix(name, "x-session")
}

// isCredential says whether a name in small letters, of whatever part of a request, says that it is a credential's. Those of places in a
// list, and of forgery protection, say so too and are none.
func isCredential(name string) bool {
	switch strings.TrimPrefix(strings.ReplaceAll(name, "-", ""), "x") {
	case "csrftoken", "srftoken", "xsrftoken", "pagetoken", "nextpagetoken", "nexttoken", "continuationtoken", "synctoken":
		return false
	}
	for _, end := range []string{"api-key", "apikey", "access-key", "accesskey", "token", "authorization", "secret", "password", "passwd", "credential", "credentials", "-auth"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// isQueryCarrier knows the signatures of presigned URLs as well, and the names of Google's system parameters.
func isQueryCarrier(name string) bool {
	name, _ = field(name)
	name = strings.TrimPrefix(name, "$")
	switch name {
	case "sig", "signature", "jwt", "assertion", "client_assertion", "x-amz-signature", "x-goog-signature", "httpheaders":
		return true
	}
	return isCarrier(name)
}

// credentialLike says whether a word of s begins as credentials do and goes on long enough to be one.
func credentialLike(s string) bool {
	words := strings.FieldsFunc(s, func(r rune) bool { return !strings.ContainsRune(lowers+uppers+digits+"-_", r) })
	for _, w := range words {
		if p := knownPrefix(w); p != "" && len(w) >= len(p)+16 {
			return true
		}
	}
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return !strings.ContainsRune(lowers+uppers+digits+"-_.", r) }) {
		if _, _, jwt := cutJWT(w); jwt || (strings.HasPrefix(w, "ya29.") || strings.HasPrefix(w, "SG.")) && len(w) > 20 {
			return true
		}
	}
	return false
}

// takes says whether a word in front of the placeholder is a scheme, and no credential: one that is in use
// (https://www.iana.org/assignments/http-authschemes and those of common APIs), or the one that the secret's Header names.
func (g *guarded) takes(scheme string) bool {
	own, _ := g.declared()
	return strings.EqualFold(scheme, own) || slices.Contains([]string{"api-key", "apikey", "bearer", "bot", "dpop", "key", "oauth", "privatetoken", "token"},
		strings.ToLower(scheme))
}

// declared gives the scheme of the secret's Header and, of "Authorization: Basic NAME", the user's name.
func (g *guarded) declared() (scheme, user string) {
	_, words, _ := strings.Cut(g.Header, ":")
	scheme, user, _ = strings.Cut(strings.TrimSpace(words), " ")
	return scheme, strings.TrimSpace(user)
}

// beside says whether the half of a pair beside the placeholder is nothing, a word that servers want there (GitHub, GitLab, Bitbucket,
// package indexes and others), or the name that the secret's Header has.
func (g *guarded) beside(half string) bool {
	scheme, user := g.declared()
	if half == "" || half == user && strings.EqualFold(scheme, "basic") {
		return true
	}
	return slices.Contains([]string{
		"__token__", "api", "api_key", "apikey", "git", "gitlab-ci-token", "oauth", "oauth2", "token", "user", "username", "x", "x-access-token",
		"x-oauth-basic", "x-token-auth",
	}, half)
}
