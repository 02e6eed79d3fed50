package profiles

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"allow", "deny", "profile", "protect", "p", "claude", "codex", "run"}
	for word, want := range map[string]string{
		"allwo": "allow", "alow": "allow", "Allow": "allow", "prfile": "profile", "protekt": "protect", "claud": "claude", "rnu": "run",
		"": "", "x": "", "ps": "", "git": "", "something": "", "deny": "deny", "kubectl": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
