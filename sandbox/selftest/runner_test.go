package selftest

import "testing"

// TestOurs: the name of the binary makes no process a part of a test, which a user may have given to it.
func TestOurs(t *testing.T) {
	for _, args := range [][]string{
		{}, {Name}, {Name, "version"}, {Name, "selftest", "--json"}, {Name, roleAttack}, {Name, roleNothing}, {Name, roleAttack, "run"},
		{Name, "run", "{}"}, {Name, roleAttack, "{}", "x"}, {"agentjail", roleAttack, "{}"},
	} {
		if _, ok := ours(args); ok {
			t.Errorf("%q is taken for a part of a test", args)
		}
	}
	for _, name := range []string{Name, "/tmp/x/" + Name} {
		if j, ok := ours([]string{name, roleAttempt, `{"Names":["a"]}`}); !ok || len(j.Names) != 1 {
			t.Errorf("%s: %+v, %v", name, j, ok)
		}
	}
	if _, ok := ours([]string{Name, roleNothing, "{}"}); !ok {
		t.Error("nothing: is not taken for a part of a test")
	}
}
