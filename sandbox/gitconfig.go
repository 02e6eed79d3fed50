package sandbox

import (
	"path"
	"slices"
	"strings"
)

// gitSetting is one variable of a git config file. Section and key are in lower case, as git compares them; sub is as written.
type gitSetting struct{ section, sub, key, value string }

// gitConfig reads git-config(1)'s syntax: quotes, escapes, comments after a value, and lines that go on after a backslash. A variable
// without a value is true. What git would refuse is read as far as it makes sense: git then runs nothing.
func gitConfig(data []byte) []gitSetting {
	var all []gitSetting
	r := &gitReader{text: strings.ReplaceAll(string(data), "\r\n", "\n")}
	section, sub := "", ""
	for {
		switch c, more := r.next(); {
		case !more:
			return all
		case c == '[':
			section, sub = r.section()
		case c == '#', c == ';':
			r.line()
		case isKey(c):
			r.at--
			key := r.while(isKey)
			r.while(func(c byte) bool { return c == ' ' || c == '\t' })
			value := "true"
			if r.peek() == '=' {
				r.at++
				value = r.value()
			} else {
				r.line()
			}
			all = append(all, gitSetting{section, sub, strings.ToLower(key), value})
		}
	}
}

// gitReader is a place in a config file.
type gitReader struct {
	text string
	at   int
}

func (r *gitReader) peek() byte {
	if r.at >= len(r.text) {
		return 0
	}
	return r.text[r.at]
}

// next gives the byte at hand, and false at the end.
func (r *gitReader) next() (byte, bool) {
	if r.at >= len(r.text) {
		return 0, false
	}
	r.at++
	return r.text[r.at-1], true
}

func (r *gitReader) while(ok func(byte) bool) string {
	start := r.at
	for r.at < len(r.text) && ok(r.text[r.at]) {
		r.at++
	}
	return r.text[start:r.at]
}

func (r *gitReader) line() { r.while(func(c byte) bool { return c != '\n' }) }

func isKey(c byte) bool {
	return c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// section reads what stands between the brackets: [section], [section "sub"] or the old [section.sub].
func (r *gitReader) section() (section, sub string) {
	head := r.while(func(c byte) bool { return c != ']' && c != '"' && c != '\n' })
	word, _, _ := strings.Cut(strings.TrimSpace(head), " ") // git stops at the rest
	section, sub, _ = strings.Cut(strings.ToLower(word), ".")
	if r.peek() == '"' {
		r.at++
		var text strings.Builder
		for c, more := r.next(); more && c != '"' && c != '\n'; c, more = r.next() {
			if c == '\\' {
				c, _ = r.next()
			}
			text.WriteByte(c)
		}
		sub = text.String()
		r.while(func(c byte) bool { return c != ']' && c != '\n' })
	}
	if r.peek() == ']' {
		r.at++
	}
	return section, sub
}

// value reads up to the end of the line, or of the last of the lines that go on. To git it is a C string: it ends before a NUL.
func (r *gitReader) value() string {
	var text []byte
	keep := 0 // up to here nothing is trimmed
	for quoted := false; ; {
		c, more := r.next()
		switch {
		case !more || c == '\n':
			value, _, _ := strings.Cut(string(text[:keep]), "\x00")
			return value
		case c == '\\':
			keep = len(text) // also in front of a line that goes on
			if c, more = r.next(); !more || c == '\n' {
				continue
			}
			if i := strings.IndexByte("ntb", c); i >= 0 {
				c = "\n\t\b"[i]
			}
			text = append(text, c)
			keep = len(text)
		case c == '"':
			quoted = !quoted
			keep = len(text)
		case !quoted && (c == '#' || c == ';'):
			r.line()
		case !quoted && (c == ' ' || c == '\t' || c == '\r'):
			if len(text) > 0 {
				text = append(text, c)
			}
		default:
			text = append(text, c)
			keep = len(text)
		}
	}
}

// How git uses a setting that names something.
const (
	namesPath    = iota // a file or directory, from the top of the work tree
	namesInclude        // a config file, from the one that names it
	namesCommand        // words for the shell, run at the top of the work tree
	namesShell          // such words after "!", something else otherwise
)

// gitNames are the settings with which git-config(1) names what git on the host runs or obeys, in whatever subsection. The key "*" is
// any.
var gitNames = []struct {
	section string
	keys    []string
	how     int
}{
	{"core", []string{"hookspath", "attributesfile"}, namesPath},
	{"init", []string{"templatedir"}, namesPath},
	{"include", []string{"path"}, namesInclude},
	{"includeif", []string{"path"}, namesInclude},
	{"core", []string{"fsmonitor", "sshcommand", "editor", "pager", "askpass", "gitproxy", "alternaterefscommand"}, namesCommand},
	{"sequence", []string{"editor"}, namesCommand},
	{"pager", []string{"*"}, namesCommand},
	{"interactive", []string{"difffilter"}, namesCommand},
	{"filter", []string{"clean", "smudge", "process"}, namesCommand},
	{"diff", []string{"external", "textconv", "command"}, namesCommand},
	{"merge", []string{"driver"}, namesCommand},
	{"difftool", []string{"cmd", "path"}, namesCommand},
	{"mergetool", []string{"cmd", "path"}, namesCommand},
	{"browser", []string{"cmd", "path"}, namesCommand},
	{"man", []string{"cmd", "path"}, namesCommand},
	{"guitool", []string{"cmd"}, namesCommand},
	{"credential", []string{"helper"}, namesCommand},
	{"gpg", []string{"program", "defaultkeycommand"}, namesCommand},
	{"trailer", []string{"command", "cmd"}, namesCommand},
	{"tar", []string{"command"}, namesCommand},
	{"remote", []string{"uploadpack", "receivepack"}, namesCommand},
	{"hook", []string{"command"}, namesCommand},
	{"uploadpack", []string{"packobjectshook"}, namesCommand},
	{"gc", []string{"recentobjectshook"}, namesCommand},
	{"sendemail", []string{"smtpserver", "sendmailcmd", "tocmd", "cccmd", "headercmd"}, namesCommand},
	{"imap", []string{"tunnel"}, namesCommand},
	{"submodule", []string{"update"}, namesShell},
	{"alias", []string{"*"}, namesShell},
}

// names says how a setting names something, and whether it does.
func (s gitSetting) names() (how int, ok bool) {
	for _, n := range gitNames {
		if n.section == s.section && (n.keys[0] == "*" || slices.Contains(n.keys, s.key)) {
			return n.how, n.how != namesShell || strings.HasPrefix(s.value, "!")
		}
	}
	return 0, false
}

// interpreters run what their arguments name.
var interpreters = []string{"env", "exec", "sh", "bash", "dash", "ash", "ksh", "zsh", "fish", "python", "python3", "perl", "ruby", "node", "deno", "bun",
	"php", "lua", "awk", "nice", "timeout", "sudo", "nohup", "time"}

// commandPaths gives the words of a shell's command line that it runs, as far as a look at the words can tell: the first of each command, and
// what an interpreter is given. A first word without a slash is looked up in PATH and is no path.
func commandPaths(line string) []string {
	var out []string
	for _, words := range shellCommands(strings.TrimPrefix(line, "!")) {
		for len(words) > 0 && (slices.Contains(keywords, words[0]) || isAssignment(words[0])) {
			words = words[1:]
		}
		if len(words) == 0 {
			continue
		}
		if strings.Contains(words[0], "/") {
			out = append(out, words[0])
		}
		if !slices.Contains(interpreters, path.Base(words[0])) {
			continue
		}
		for _, w := range words[1:] {
			switch {
			case strings.ContainsAny(w, " ;|&\n") && len(w) < len(line): // sh -c '…'
				out = append(out, commandPaths(w)...)
			case !strings.HasPrefix(w, "-"):
				out = append(out, w)
			}
		}
	}
	return out
}

// keywords stand before a command in the shell's grammar.
var keywords = []string{"{", "}", "!", "if", "then", "elif", "else", "fi", "while", "until", "do", "done"}

func isAssignment(word string) bool {
	name, _, ok := strings.Cut(word, "=")
	return ok && !strings.Contains(name, "/")
}

// shellCommands splits a line into commands and these into words, quotes removed.
func shellCommands(line string) [][]string {
	var all [][]string
	var words []string
	var word []byte
	inWord, quote := false, byte(0)
	endWord := func() {
		if inWord {
			words, word, inWord = append(words, string(word)), nil, false
		}
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			all, words = append(all, words), nil
		}
	}
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			word, inWord = append(word, line[i]), true
		case quote != 0:
			word = append(word, c)
		case c == '\'' || c == '"':
			quote, inWord = c, true
		case c == ' ' || c == '\t':
			endWord()
		case strings.IndexByte(";|&\n()", c) >= 0:
			endCommand()
		default:
			word, inWord = append(word, c), true
		}
	}
	endCommand()
	return all
}
