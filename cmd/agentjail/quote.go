package main

import (
	"fmt"
	"strings"
)

// quote writes argv as one line that a POSIX shell reads back as the same words, so that a hint can be pasted.
func quote(argv ...string) string {
	words := make([]string, len(argv))
	for i, word := range argv {
		words[i] = quoteWord(word)
	}
	return strings.Join(words, " ")
}

func quoteWord(word string) string {
	switch {
	case word != "" && word[0] != '=' && strings.Trim(word, plain) == "": // zsh expands =name
		return word
	case printable(word) == word && !strings.Contains(word, "\t"):
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	// Control bytes must not reach the terminal: $'…' (POSIX.1-2024, 2.2.4), which bash, zsh and ksh read. Octal has a fixed width;
	// a hexadecimal escape would swallow a digit that follows.
	var b strings.Builder
	b.WriteString("$'")
	for _, c := range []byte(word) {
		switch {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c > 0x7e:
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// plain is what no shell gives a meaning to inside a word.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"
