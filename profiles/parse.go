package profiles

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// maxFile bounds a profile in bytes. The project's own file is the agent's to write, and the parser holds a tree of it.
const maxFile = 256 << 10

// Parse reads one TOML file. name is "claude" or the path that the user gave; it stands in the Why of each wish
// ("claude.toml: net.allow[2]") and in errors. An error shows file, line, column and the line itself: an unknown key, a value of
// the wrong kind and a value that cannot be granted are one like the other, and there is no profile then.
func Parse(name string, data []byte) (*Profile, error) {
	file := name
	if !strings.HasSuffix(file, ".toml") {
		file += ".toml"
	}
	return parse(file, file+": ", data)
}

// parse reads the file that is called file in errors; the wishes' Why starts with why.
func parse(file, why string, data []byte) (*Profile, error) {
	s := &source{file: file, data: data, kinds: kinds(), at: map[string]unstable.Range{}}
	if len(data) > maxFile {
		return nil, profileError("", "%s: %d bytes are more than the %d that a profile may have", printable(file), len(data), maxFile)
	}
	var doc document
	decoder := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := s.walk(); err != nil {
		return nil, err
	}
	if err := decoder.Decode(&doc); err != nil {
		return nil, s.decodeError(err)
	}
	if key, err := doc.check(); err != nil {
		return nil, s.errorAt(s.at[key], "", "%s: %v", key, err)
	}
	p := doc.profile(why)
	p.Name = strings.TrimSuffix(file[strings.LastIndex(file, "/")+1:], ".toml")
	if err := p.Check(); err != nil {
		var wish *WishError
		if !errors.As(err, &wish) {
			return nil, err
		}
		key := strings.TrimPrefix(wish.Why, why)
		return nil, s.errorAt(s.at[key], "", "%s: %v", key, wish.Err)
	}
	return p, nil
}

// source is one file while it is read.
type source struct {
	file  string
	data  []byte
	kinds map[string]string         // of the schema
	at    map[string]unstable.Range // where each key stands: "net.allow", "net.allow[2]", "net.rule[0].host"
}

// walk goes through the file's tree before it is decoded. go-toml takes keys in any case and lets an empty table pass for a
// scalar; a file that decides what a jail may do is read as it is written, so each key must be one of the schema, spelled like
// it, with a value of its kind. A syntax error is left to the decoder, which words it better.
func (s *source) walk() error {
	var p unstable.Parser
	p.Reset(s.data)
	table, path := "", "" // where the next key belongs: in the schema, and in the file with indices
	for count := map[string]int{}; p.NextExpression(); {
		e := p.Expression()
		switch e.Kind {
		case unstable.KeyValue:
			if err := s.keyValue(table, path, e); err != nil {
				return err
			}
		case unstable.Table, unstable.ArrayTable:
			table, _ = s.key("", "", e)
			path = table
			at := e.Child().Raw
			switch kind := s.kinds[table]; {
			case kind == "tables" && e.Kind == unstable.ArrayTable:
				path = fmt.Sprintf("%s[%d]", table, count[table])
				count[table]++
			case kind == "tables":
				return s.errorAt(at, "", "write [[%s]]: there may be several", table)
			case kind == "table" && e.Kind == unstable.ArrayTable:
				return s.errorAt(at, "", "write [%s]: there is one", table)
			case kind != "table":
				return s.unknown(at, table)
			}
			s.at[path] = at
		}
	}
	return nil
}

// key joins the parts of a node's key to what it belongs to.
func (s *source) key(table, path string, n *unstable.Node) (inSchema, inFile string) {
	for it := n.Key(); it.Next(); {
		part := string(it.Node().Data)
		if strings.Contains(part, ".") {
			part = fmt.Sprintf("%q", part) // so that "net.allow" in quotes is not net.allow
		}
		table, path = strings.TrimPrefix(table+"."+part, "."), strings.TrimPrefix(path+"."+part, ".")
	}
	return table, path
}

func (s *source) keyValue(table, path string, n *unstable.Node) error {
	key, inFile := s.key(table, path, n)
	keys := n.Key()
	keys.Next()
	at := keys.Node().Raw
	s.at[inFile] = at
	for i := len(table) + 1; i < len(key); i++ {
		if key[i] == '.' && s.kinds[key[:i]] == "tables" {
			return s.errorAt(at, "", "write [[%s]]: there may be several", key[:i])
		}
	}
	kind, ok := s.kinds[key]
	if parent := key[:max(0, strings.LastIndex(key, "."))]; !ok {
		kind, ok = s.kinds[parent+".*"]
	}
	if !ok {
		return s.unknown(at, key)
	}
	return s.value(kind, key, inFile, at, n.Value())
}

func (s *source) value(kind, key, path string, at unstable.Range, v *unstable.Node) error {
	type match struct {
		kind string
		node unstable.Kind
	}
	switch (match{kind, v.Kind}) {
	case match{"string", unstable.String}, match{"bool", unstable.Bool}, match{"int64", unstable.Integer},
		match{"float64", unstable.Float}, match{"float64", unstable.Integer}:
		return nil
	case match{"table", unstable.InlineTable}:
		for it := v.Children(); it.Next(); {
			if err := s.keyValue(key, path, it.Node()); err != nil {
				return err
			}
		}
		return nil
	case match{"strings", unstable.Array}, match{"int64s", unstable.Array}, match{"tables", unstable.Array}:
		element := strings.TrimSuffix(kind, "s")
		it := v.Children()
		for i := 0; it.Next(); i++ {
			inFile, where := fmt.Sprintf("%s[%d]", path, i), it.Node().Raw
			if where.Length == 0 {
				where = at
			}
			s.at[inFile] = where
			if err := s.value(element, key, inFile, where, it.Node()); err != nil {
				return err
			}
		}
		return nil
	}
	want := map[string]string{
		"string": "a string", "bool": "true or false", "int64": "a whole number", "float64": "a number", "table": "a table",
		"strings": "a list of strings", "int64s": "a list of whole numbers", "tables": "tables",
	}
	return s.errorAt(at, "", "%s: must be %s", path, want[kind])
}

// unknown is the error for a key that the schema does not have.
func (s *source) unknown(at unstable.Range, key string) error {
	parent := key[:max(0, strings.LastIndex(key, "."))]
	for s.kinds[parent] == "" {
		parent = parent[:max(0, strings.LastIndex(parent, "."))]
	}
	var known []string
	for _, k := range slices.Sorted(maps.Keys(s.kinds)) {
		if rest, ok := strings.CutPrefix(k, strings.TrimPrefix(parent+".", ".")); ok && rest != "" && !strings.Contains(rest, ".") {
			known = append(known, rest)
		}
	}
	where := "the top level has"
	if parent != "" {
		where = "[" + parent + "] has"
	}
	hint := where + " " + strings.Join(known, ", ")
	if near := Nearest(key[strings.LastIndex(key, ".")+1:], known); near != "" {
		hint = "did you mean " + near + "? " + hint
	}
	return s.errorAt(at, hint, "unknown key %s", key)
}

// decodeError words what go-toml found.
func (s *source) decodeError(err error) error {
	var strict *toml.StrictMissingError
	if errors.As(err, &strict) && len(strict.Errors) > 0 {
		err = &strict.Errors[0]
	}
	var de *toml.DecodeError
	if !errors.As(err, &de) {
		return profileError("", "%s: %s", printable(s.file), printable(err.Error()))
	}
	line, column := de.Position()
	return s.errorOn(line, column, 1, "", "%s", strings.TrimPrefix(de.Error(), "toml: "))
}

// errorAt is an error about a part of the file.
func (s *source) errorAt(at unstable.Range, hint, format string, args ...any) error {
	before := s.data[:min(int(at.Offset), len(s.data))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return s.errorOn(line, column, int(at.Length), hint, format, args...)
}

// errorOn shows the line as an editor would number it, with a mark below the place. Everything that a terminal acts on is
// escaped: the project's file is the agent's to write.
func (s *source) errorOn(line, column, length int, hint, format string, args ...any) error {
	lines := bytes.Split(s.data, []byte("\n"))
	var shown []byte
	if line <= len(lines) {
		shown = bytes.TrimSuffix(lines[line-1], []byte("\r"))
	}
	column = max(1, min(column, len(shown)+1))
	before := printable(strings.ReplaceAll(string(shown[:column-1]), "\t", " "))
	rest := printable(strings.ReplaceAll(string(shown[column-1:]), "\t", " "))
	if utf8.RuneCountInString(before) > 100 {
		before = "…" + string([]rune(before)[utf8.RuneCountInString(before)-60:])
	}
	if utf8.RuneCountInString(rest) > 100 {
		rest = string([]rune(rest)[:100]) + "…"
	}
	indent := strings.Repeat(" ", utf8.RuneCountInString(before))
	mark := strings.Repeat("^", max(1, min(length, utf8.RuneCountInString(rest))))
	number := fmt.Sprint(line)
	return &Error{Step: "profile", Hint: hint, Err: fmt.Errorf("%s:%d:%d: %s\n  %s | %s%s\n  %s | %s%s", printable(s.file), line, column,
		printable(fmt.Sprintf(format, args...)), number, before, rest, strings.Repeat(" ", len(number)), indent, mark)}
}
