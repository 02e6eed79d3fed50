package seccomp

import (
	"strings"
	"testing"
)

// leaky loses 77 bytes, which LeakSanitizer finds when the program ends: it stops every thread from a helper, with ptrace(2).
const leaky = `
#include <stdlib.h>
int main(void) {
	volatile char *p = malloc(77);
	p[0] = 1;
	p = 0;
	return 0;
}
`

// TestLeakSanitizerWorks is why the base policy has some of ptrace: without, every program that was built with
// -fsanitize=address fails when it ends, the correct ones too.
func TestLeakSanitizerWorks(t *testing.T) {
	binary := compileC(t, leaky, "-fsanitize=address")
	base, err := Compile(nil)
	if err != nil {
		t.Fatal(err)
	}
	var without []rule
	for _, r := range basePolicy() {
		if r.names[0] == "ptrace" {
			r.clauses = always(eperm)
		}
		without = append(without, r)
	}
	control, err := compile(nativeArch(t), without)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		program []byte
		want    string
	}{
		{"base policy", base, "77 byte(s) leaked"},
		{"control, ptrace refused", control, "LeakSanitizer has encountered a fatal error"},
	} {
		cmd := child(t, "exec", c.program, "leaky")
		cmd.ExtraFiles = append(cmd.ExtraFiles, binary)
		text, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(text), c.want) {
			t.Errorf("%s: %v, no %q in\n%s", c.name, err, c.want, text)
		}
	}
}
