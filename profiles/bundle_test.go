package profiles

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// host is a made-up machine: a home, a PATH of its own with fake tools, an /etc and a project that an agent writes.
type host struct {
	t                       *testing.T
	home, bin, etc, project string
	asker                   Asker
}

func newHost(t *testing.T) *host {
	dir := t.TempDir()
	h := &host{t: t, home: dir + "/home", bin: dir + "/bin", etc: dir + "/etc", project: dir + "/home/project"}
	for _, d := range []string{h.home, h.bin, h.etc, h.project} {
		h.must(os.MkdirAll(d, 0o755))
	}
	h.asker = Asker{Env: []string{"HOME=" + h.home, "PATH=" + h.bin}, Dir: h.home, Etc: h.etc, Avoid: []string{h.project}}
	return h
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) write(name, text string, mode os.FileMode) {
	h.t.Helper()
	h.must(os.MkdirAll(filepath.Dir(name), 0o755))
	h.must(os.WriteFile(name, []byte(text), mode))
	h.must(os.Chmod(name, mode))
}

// tool puts a shell script on the host's PATH.
func (h *host) tool(name, script string) {
	h.t.Helper()
	h.write(filepath.Join(h.bin, name), "#!/bin/sh\n"+script, 0o755)
}

func (h *host) expand(bundle string) (*Profile, error) {
	return h.asker.Expand(context.Background(), &Profile{Net: Net{Allow: []Item{{"@" + bundle, "--allow"}}}})
}

// hosts is what a bundle became.
func (h *host) hosts(bundle string) string {
	h.t.Helper()
	p, err := h.expand(bundle)
	if err != nil {
		h.t.Fatal(err)
	}
	return values(opened(p))
}

func envSet(p *Profile) string {
	var out []string
	for _, s := range p.Env.Set {
		out = append(out, s.Name+"="+s.Value)
	}
	return strings.Join(out, " ")
}

const (
	npmBare = `[ "$npm_config_userconfig$npm_config_globalconfig" = /nonexistent/user/nonexistent/global ] && echo '{"registry":"https://npm.example.com/"}' && exit; `
	goTool  = `printf '{"GOPROXY":"%s","GOSUMDB":"%s"}' `
	pipTool = "case \"$3\" in\npip) printf '%s';;\n*) echo https://index.example.com/simple files.example.net;;\nesac\n"
)

func TestBundles(t *testing.T) {
	cargoBinary := "\x7fELF" + strings.Repeat("\x00", 1<<20-10) + "sparse+https://sparse+https://index.example.io/other" + strings.Repeat("x", 100)
	for _, c := range []struct {
		name, bundle string
		make         func(h *host)
		hosts, env   string
		err, hint    string // "" is none
	}{
		{"npm", "npm", func(h *host) {
			h.tool("npm", `echo '{"registry":"https://npm.example.com/","audit":true,"cache":"/c"}'`)
		}, "npm.example.com:443", "", "", ""},
		{"npm with a mirror", "npm", func(h *host) {
			h.tool("npm", npmBare+`echo '{"registry":"https://m.example.com/","@acme:registry":"http://npm.acme.example.com:8081/x"}'`)
		}, "npm.acme.example.com:8081 m.example.com:443", "npm_config_registry=https://m.example.com/", "", ""},
		{"npm with a password", "npm", func(h *host) {
			h.tool("npm", npmBare+`echo '{"registry":"https://user:hunter2@npm.example.com/"}'`)
		}, "npm.example.com:443", "", "", ""},
		{"npm on this machine", "npm", func(h *host) { h.tool("npm", `echo '{"registry":"http://127.0.0.1:4873/"}'`) }, "", "",
			"@npm: npm config get registry: 127.0.0.1 is an address of this machine's network", "--allow HOST"},
		{"npm on localhost", "npm", func(h *host) { h.tool("npm", `echo '{"registry":"http://localhost:4873/"}'`) }, "", "", "localhost is an address", "--allow HOST"},
		{"npm says nothing", "npm", func(h *host) { h.tool("npm", `echo '{}'`) }, "", "", "no registry with a host is configured", "--allow HOST"},
		{"npm is not JSON", "npm", func(h *host) { h.tool("npm", `echo hello`) }, "", "", "npm config list --json: invalid character", "--allow HOST"},
		{"npm fails", "npm", func(h *host) { h.tool("npm", `printf 'first\n\033[31mbad\n' >&2; exit 3`) }, "", "", `exit status 3: \x1b[31mbad`, "--allow HOST"},
		{"npm talks without end", "npm", func(h *host) { h.tool("npm", `i=0; while [ $i -lt 4096 ]; do printf '%512s' x; i=$((i+1)); done`) }, "", "",
			"more than 1048576 bytes", "--allow HOST"},
		{"no npm", "npm", func(*host) {}, "", "", "no npm on the PATH", "install npm"},

		{"go", "go", func(h *host) { h.tool("go", goTool+`'https://proxy.example.com,direct' 'sum.example.com'`) },
			"proxy.example.com:443 sum.example.com:443", "GOPROXY=https://proxy.example.com,direct GOSUMDB=sum.example.com", "", ""},
		{"go with more", "go", func(h *host) {
			h.tool("go", goTool+`'http://a.example.com:3000/x|b.example.com|file:///x,off' 'sum.example.com+033de0ae+Ac4 https://a.example.com/sumdb'`)
		}, "a.example.com:3000 b.example.com:443 a.example.com:443",
			"GOPROXY=http://a.example.com:3000/x|b.example.com|file:///x,off GOSUMDB=sum.example.com+033de0ae+Ac4 https://a.example.com/sumdb", "", ""},
		{"go without sums", "go", func(h *host) { h.tool("go", goTool+`'https://proxy.example.com' 'off'`) }, "proxy.example.com:443",
			"GOPROXY=https://proxy.example.com GOSUMDB=off", "", ""},
		{"go with a password", "go", func(h *host) { h.tool("go", goTool+`'https://u:p@proxy.example.com,direct' 'off'`) }, "proxy.example.com:443", "GOSUMDB=off", "", ""},
		{"go direct", "go", func(h *host) { h.tool("go", goTool+`'direct' 'sum.example.com'`) }, "", "", "names no proxy", "--allow HOST"},
		{"no go", "go", func(*host) {}, "", "", "no go on the PATH", "install go"},

		{"pip's own index", "pip", func(h *host) { h.tool("python3", fmt.Sprintf(pipTool, "")) }, "index.example.com:443 files.example.net:443", "", "", ""},
		{"pip with a mirror", "pip", func(h *host) {
			h.tool("python3", fmt.Sprintf(pipTool, `global.index-url='\''https://global.example.com/simple'\''\n:env:.index-url='\''http://env.example.com:81/simple'\''\n`+
				`global.extra-index-url='\''https://x.example.com/simple\\nhttps://y.example.com/simple'\''\n:env:.find-links='\''/srv/wheels https://z.example.com/w'\''\n`))
		}, "x.example.com:443 y.example.com:443 z.example.com:443 env.example.com:81", "PIP_INDEX_URL=http://env.example.com:81/simple", "", ""},
		{"pip with its own index written out", "pip", func(h *host) {
			h.tool("python3", fmt.Sprintf(pipTool, `global.index-url='\''https://index.example.com/simple/'\''\n`))
		}, "index.example.com:443 files.example.net:443", "PIP_INDEX_URL=https://index.example.com/simple/", "", ""},
		{"pip of another python", "pip", func(h *host) {
			h.tool("python3", "echo no module named pip >&2; exit 1")
			h.tool("pip3", `[ "$*" = "config list" ] && echo "global.index-url='https://m.example.com/simple'"`)
		}, "m.example.com:443", "PIP_INDEX_URL=https://m.example.com/simple", "", ""},
		{"pip that does not tell", "pip", func(h *host) { h.tool("pip", "exit 0") }, "", "", "pip does not tell which index it uses", "--allow HOST"},
		{"python without pip", "pip", func(h *host) { h.tool("python3", "echo No module named pip >&2; exit 1") }, "", "", "No module named pip", "--allow HOST"},
		{"no pip", "pip", func(*host) {}, "", "", "no pip on the PATH", "install pip"},

		{"cargo's own index, across two reads", "cargo", func(h *host) { h.write(h.bin+"/cargo", cargoBinary, 0o755) }, "index.example.io:443 *.example.io:443", "", "", ""},
		{"cargo behind rustup", "cargo", func(h *host) {
			h.write(h.home+"/toolchain/cargo", "xx sparse+https://index.example.io/ xx", 0o755)
			h.tool("rustup", `[ "$*" = "which cargo" ] && echo `+h.home+`/toolchain/cargo`)
			h.must(os.Symlink("rustup", h.bin+"/cargo"))
		}, "index.example.io:443 *.example.io:443", "", "", ""},
		{"cargo with an index right below a suffix", "cargo", func(h *host) { h.write(h.bin+"/cargo", "sparse+https://example.io/", 0o755) }, "example.io:443", "", "", ""},
		{"cargo with a mirror", "cargo", func(h *host) {
			h.write(h.bin+"/cargo", cargoBinary, 0o755)
			h.write(h.home+"/.cargo/config.toml", "[source.main]\nreplace-with = \"a\"\n[source.a]\nreplace-with = \"b\"\n[source.b]\nregistry = \"sparse+https://m.example.com/index/\"\n"+
				"[registries.corp]\nindex = \"https://git.example.com/index\"\n[build]\njobs = 2\n", 0o644)
		}, "git.example.com:443 m.example.com:443", "", "", ""},
		{"cargo with one more registry", "cargo", func(h *host) {
			h.write(h.bin+"/cargo", "sparse+https://index.example.io/", 0o755)
			h.write(h.home+"/.cargo/config", "[registries.corp]\nindex = \"sparse+https://corp.example.com/\"\n", 0o644)
		}, "corp.example.com:443 index.example.io:443 *.example.io:443", "", "", ""},
		{"cargo with crates in a directory", "cargo", func(h *host) {
			h.write(h.bin+"/cargo", cargoBinary, 0o755)
			h.write(h.home+"/.cargo/config.toml", "[source.main]\nreplace-with = \"v\"\n[source.v]\ndirectory = \"/v\"\n", 0o644)
		}, "", "", "no registry with a host is configured", "--allow HOST"},
		{"cargo with two indices", "cargo", func(h *host) {
			h.write(h.bin+"/cargo", "sparse+https://a.example.io/ sparse+https://b.example.io/", 0o755)
		}, "", "",
			"holds 2 index URLs", "--allow HOST"},
		{"cargo with a broken file", "cargo", func(h *host) {
			h.write(h.bin+"/cargo", cargoBinary, 0o755)
			h.write(h.home+"/.cargo/config.toml", "[", 0o644)
		}, "", "", "config.toml: ", "--allow HOST"},
		{"no cargo", "cargo", func(*host) {}, "", "", "no cargo on the PATH", "install cargo"},

		{"apt", "apt", func(h *host) {
			h.write(h.etc+"/apt/sources.list", "# deb http://old.example.com/d x main\ndeb\thttp://a.example.com/d bookworm main # x\n"+
				"deb [arch=amd64 signed-by=/k] https://b.example.com/d x main\ndeb-src cdrom:[Debian]/ x main\ndeb mirror+https://c.example.com/list x main\n", 0o644)
			h.write(h.etc+"/apt/sources.list.d/x.sources", "Types: deb\nURIs: http://d.example.com:8080/d\n https://e.example.com/d\n# URIs: http://no.example.com\nSuites: x\n\n"+
				"Enabled: no\nURIs: https://off.example.com/d\n\nuris: file:/x\n\nEnabled: yes\nURIs: https://f.example.com/d", 0o644)
			h.write(h.etc+"/apt/sources.list.d/y.list.disabled", "deb http://no.example.com/d x main\n", 0o644)
		}, "a.example.com:80 b.example.com:443 c.example.com:443 d.example.com:8080 e.example.com:443 f.example.com:443", "", "", ""},
		{"no apt", "apt", func(*host) {}, "", "", "names no source with a host", "--allow HOST"},

		{"github", "github", func(*host) {}, "github.com:443 api.github.com:443 codeload.github.com:443 objects.githubusercontent.com:443 " +
			"release-assets.githubusercontent.com:443 raw.githubusercontent.com:443 media.githubusercontent.com:443", "", "", ""},
		{"nothing of that name", "nmp", func(*host) {}, "", "", "no such bundle", "--allow HOST"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			c.make(h)
			p, err := h.expand(c.bundle)
			if c.err != "" {
				e, ok := errors.AsType[*Error](err)
				if !ok || !strings.Contains(e.Error(), c.err) || !strings.Contains(e.Hint, c.hint) || strings.Contains(e.Error(), "hunter2") {
					t.Errorf("got %v, %v, want %q", p, err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([2]string{c.hosts, c.env}, [2]string{values(opened(p)), envSet(p)}); d != "" {
				t.Error(d)
			}
			if err := p.Check(); err != nil {
				t.Error(err)
			}
			if why := opened(p)[0].Why; !strings.HasPrefix(why, "@"+c.bundle+" (") || !strings.HasSuffix(why, "), from --allow") {
				t.Error(why)
			}
		})
	}
}

// opened lists what a bundle has opened.
func opened(p *Profile) []Item {
	var all []Item
	for _, r := range p.Net.Rules {
		all = append(all, Item{fmt.Sprintf("%s:%d", r.Host, r.Ports[0]), r.Why})
	}
	return append(all, p.Net.Allow...)
}

// TestBundlesReadAlone: every host of a bundle is a rule that allows reads and nothing else; a company's mirror has a private
// address, a fixed host or a wildcard has none to need.
func TestBundlesReadAlone(t *testing.T) {
	reads := []string{"GET", "HEAD"}
	for _, c := range []struct {
		bundle, host string
		want         Rule
	}{
		{"npm", "mirror.example.com:443", Rule{Host: "mirror.example.com", Ports: []int{443}, Methods: reads, Private: true}},
		{"apt", "deb.example.com:80", Rule{Host: "deb.example.com", Ports: []int{80}, Methods: reads, Private: true}},
		{"cargo", "*.example.com:443", Rule{Host: "*.example.com", Ports: []int{443}, Methods: reads}},
		{"github", "codeload.github.com:443", Rule{Host: "codeload.github.com", Ports: []int{443}, Methods: reads}},
		{"github", "github.com:443", Rule{Host: "github.com", Ports: []int{443}, API: "github", Git: "fetch"}},
		{"github", "api.github.com:443", Rule{Host: "api.github.com", Ports: []int{443}, API: "github"}},
	} {
		if d := cmp.Diff(c.want, bundled(c.bundle, Item{Value: c.host})); d != "" {
			t.Errorf("@%s %s: %s", c.bundle, c.host, d)
		}
	}
	for _, h := range github().Hosts {
		if r := bundled("github", h); !r.inspects() {
			t.Errorf("%s: %+v sees no requests", h.Value, r)
		}
	}
}

func TestExpandKeepsTheRest(t *testing.T) {
	h := newHost(t)
	h.tool("npm", npmBare+`echo '{"registry":"https://m.example.com/"}'`)
	p := &Profile{
		Net: Net{Allow: []Item{{"a.example.com", "a"}, {"@npm", "b"}, {"m.example.com:443", "c"}, {"z.example.com", "d"}}},
		Env: Env{Pass: []Item{{"npm_config_*", "e"}}},
	}
	got, err := h.asker.Expand(context.Background(), p)
	if err != nil {
		t.Fatal(err)
	}
	want := &Profile{
		Net: Net{
			Allow: []Item{{"a.example.com", "a"}, {"m.example.com:443", "c"}, {"z.example.com", "d"}},
			Rules: []Rule{{Host: "m.example.com", Ports: []int{443}, Methods: []string{"GET", "HEAD"}, Private: true, Why: "@npm (npm config get registry), from b"}},
		},
		Env: Env{Pass: []Item{{"npm_config_*", "e"}}}, // the user passes it: not ours to set
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(p.Net.Allow) != 4 || p.Net.Allow[1].Value != "@npm" {
		t.Error("the argument is changed")
	}
	p.Net.Mode.Value = "none"
	h.tool("npm", "exit 1")
	if got, err := h.asker.Expand(context.Background(), p); err != nil || len(got.Net.Allow) != 3 {
		t.Errorf("with no network at all: %v, %v", got, err)
	}
}

// TestAConfigurationThatTheJailWrites would let the agent choose the registry of its next session. Control: a neighbour of the
// configuration may be writable.
func TestAConfigurationThatTheJailWrites(t *testing.T) {
	h := newHost(t)
	h.tool("npm", `echo '{"registry":"https://npm.example.com/"}'`)
	h.tool("go", goTool+`'https://proxy.example.com' 'off'`)
	h.tool("python3", fmt.Sprintf(pipTool, ""))
	h.write(h.bin+"/cargo", "sparse+https://index.example.io/", 0o755)
	for bundle, writes := range map[string][2]string{
		"npm": {"~/.npmrc", "~/.npm"}, "go": {"~/.config/go", "~/go"}, "pip": {"~/.config", "~/.cache"}, "cargo": {"~/.cargo", "~/.cargo/registry"},
	} {
		for i, w := range writes {
			p := &Profile{FS: FS{Write: []Item{{w, "w"}}}, Net: Net{Allow: []Item{{"@" + bundle, "x"}}}}
			_, err := h.asker.Expand(context.Background(), p)
			if refused := err != nil && strings.Contains(err.Error(), "has a say in the answer"); refused != (i == 0) {
				t.Errorf("@%s with %s writable: %v", bundle, w, err)
			}
		}
	}
}

// Twice as many hosts cost twice as much, and not four times.
func TestExpandIsLinear(t *testing.T) {
	cost := func(n int) float64 {
		p := &Profile{}
		for i := range n {
			p.Net.Allow = append(p.Net.Allow, Item{Value: fmt.Sprintf("h%d.example.com", i)})
		}
		r := testing.Benchmark(func(b *testing.B) {
			for b.Loop() {
				if _, err := (Asker{}).Expand(t.Context(), p); err != nil {
					b.Fatal(err)
				}
			}
		})
		return float64(r.AllocedBytesPerOp())
	}
	if few, many := cost(500), cost(1000); many > 3*few {
		t.Errorf("%.0f bytes for 500 hosts, %.0f for 1,000", few, many)
	}
}
