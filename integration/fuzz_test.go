package integration

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// parsers is every parser that reads bytes of the jail, of a server that the jail talks to, or of a file that the jail may write, by the
// fuzz target that holds it. Other parsers that it calls are held with it.
var parsers = map[string]map[string][]string{
	"netns/egress": {
		"FuzzReadHello":     {"ReadHello"},
		"FuzzStrict":        {"newStrict", "parseHead", "chunkLine", "trailEnd", "question"},
		"FuzzAuthority":     {"authority", "spoken"},
		"FuzzCanonical":     {"Canonical"},
		"FuzzHosts":         {"ParseRule", "Decide", "Canonical"},
		"FuzzParseRule":     {"ParseRule", "Compile"},
		"FuzzGlobs":         {"matchPath", "matchRef", "checkPath"},
		"FuzzDNSAnswer":     {"Answer"},
		"FuzzDNSStream":     {"ServeTCP"},
		"FuzzGuard":         {"Check", "CheckPrivate"}, // what a name server of the jail's choice says
		"FuzzCanonicalPath": {"canonicalPath"},
		"FuzzKeepEscapes":   {"keepEscapes"},
		"FuzzFormOverride":  {"watchForm", "find"},
		"FuzzGitGate":       {"judgeGit"},
		"FuzzReadPush":      {"readPush"},
		"FuzzReadPack":      {"readPack", "newHistory"},
		"FuzzBatch":         {"batchOperation"},
		"FuzzStrictJSON":    {"strictJSON"},
		"FuzzJudgeAPI":      {"judgeAPI"},
		"FuzzOnlyQueries":   {"onlyQueries"},
		"FuzzFields":        {"jsonFields", "formFields", "partFields"},
		"FuzzCredentials":   {"credentials"},
		"FuzzClaims":        {"disguiseClaims"},
		"FuzzPlaceholder":   {"Placeholder"},
		"FuzzUnescape":      {"put", "flush"},
		"FuzzTripwire":      {"newTripwire", "feed"},
		"FuzzFrames":        {"newFrames"},
		"FuzzServerFrames":  {"feed", "begin"},
		"FuzzUnpacked":      {"decoder", "look"},
		"FuzzSwap":          {"newSwap"},
	},
	"sandbox": {
		"FuzzGitConfig":      {"gitConfig", "commandPaths"},
		"FuzzGitConfigAsGit": {"gitConfig"},
		"FuzzGitFile":        {"linkedGitDir", "readPath"},
		"FuzzFollow":         {"follow"},
		"FuzzHidden":         {"parseHidden", "matchParts"},
		"FuzzKnown":          {"parseKnown"},
		"FuzzMountsTravel":   {"packMounts", "unpackMounts"},
		"FuzzReceive":        {"receive"}, // of the gateway
		"FuzzInitEvent":      {"receive"}, // of init
		"FuzzDisguise":       {"disguise", "pick"},
	},
	"profiles": {"FuzzParse": {"Parse"}}, // .agentjail.toml
	"cmd/agentjail": {
		"FuzzSplit":     {"split"},
		"FuzzQuote":     {"quote"},
		"FuzzWriteJSON": {"writeJSON"},
	},
}

// notTheJails are functions that read what no jail writes.
var notTheJails = map[string]string{
	"sandbox.parseCgroupMount": "/proc/self/mountinfo of the launcher",
	"sandbox.parseBytes":       "a limit of the merged profile, which profiles.Parse has judged",
	"sandbox.parseCount":       "a limit",
	"sandbox.parseCPUs":        "a limit",
	"sandbox.parseDuration":    "a limit",
	"profiles.readFile":        "the user's own profiles",
	"profiles.ParseBytes":      "held by Check, which FuzzParse calls",
	"profiles.ParseCount":      "held by Check",
	"profiles.ParseCPUs":       "held by Check",
	"profiles.ParseDuration":   "held by Check",
	"profiles.readProject":     "gives bytes to Parse",
}

// declared is what the files of one package declare: its functions by name, each with the names that it uses, and those that read bytes.
type declared struct {
	uses    map[string]map[string]bool
	readers []string
	fuzz    map[string]*ast.FuncDecl
}

func declarations(t *testing.T, dir string) declared {
	t.Helper()
	d := declared{uses: map[string]map[string]bool{}, fuzz: map[string]*ast.FuncDecl{}}
	files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", dir, err)
	}
	named := regexp.MustCompile(`^([pP]arse|[rR]ead)[A-Z]?`)
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if strings.HasSuffix(name, "_test.go") {
				if strings.HasPrefix(f.Name.Name, "Fuzz") {
					d.fuzz[f.Name.Name] = f
				}
				continue
			}
			used := d.uses[f.Name.Name]
			if used == nil {
				used = map[string]bool{}
				d.uses[f.Name.Name] = used
			}
			maps.Copy(used, names(f.Body))
			if named.MatchString(f.Name.Name) && f.Recv == nil && takesBytes(f.Type) {
				d.readers = append(d.readers, f.Name.Name)
			}
		}
	}
	return d
}

// names are the identifiers in a piece of code.
func names(n ast.Node) map[string]bool {
	all := map[string]bool{}
	ast.Inspect(n, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			all[id.Name] = true
		}
		return true
	})
	return all
}

func takesBytes(f *ast.FuncType) bool {
	for _, p := range f.Params.List {
		used := names(p.Type)
		if used["byte"] || used["string"] || used["Reader"] || used["FS"] {
			return true
		}
	}
	return false
}

// TestEveryParserIsFuzzed holds the table: each parser in it is there, each target has samples to begin with, and a function that is
// called a parser and takes bytes is held by a target, or it is said whose bytes they are.
func TestEveryParserIsFuzzed(t *testing.T) {
	for dir, targets := range parsers {
		d := declarations(t, dir)
		held := map[string]bool{}
		for target, list := range targets {
			f := d.fuzz[target]
			if f == nil {
				t.Errorf("%s: there is no %s", dir, target)
				continue
			}
			samples, _ := os.ReadDir(filepath.Join("..", dir, "testdata", "fuzz", target))
			if !names(f.Body)["Add"] && len(samples) == 0 {
				t.Errorf("%s: %s begins with nothing", dir, target)
			}
			for _, name := range list {
				if d.uses[name] == nil {
					t.Errorf("%s: %s: there is no %s", dir, target, name)
				}
				held[name] = true
			}
		}
		for target := range d.fuzz {
			if targets[target] == nil {
				t.Errorf("%s: %s is not in the table: which parser does it hold?", dir, target)
			}
		}
		for queue := slices.Collect(maps.Keys(held)); len(queue) > 0; queue = queue[1:] {
			for name := range d.uses[queue[0]] {
				if slices.Contains(d.readers, name) && !held[name] {
					held[name] = true
					queue = append(queue, name)
				}
			}
		}
		for _, name := range d.readers {
			if !held[name] && notTheJails[filepath.Base(dir)+"."+name] == "" {
				t.Errorf("%s: %s reads bytes, and no fuzz target holds it", dir, name)
			}
		}
	}
}
