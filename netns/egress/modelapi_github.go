package egress

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Sources: https://docs.github.com/en/rest and .../graphql; https://git-scm.com/docs/http-protocol and
// https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md for what git itself posts.

// githubCalls are reads, and the posts that only ask. The git gate has judged those of git and LFS before.
func githubCalls() []call {
	return []call{
		getCall("/**"),
		postCall("/graphql", judgeGraphQL),
		{method: http.MethodPost, path: "/*/*/git-upload-pack", opaque: true},
		{method: http.MethodPost, path: "/*/*/info/lfs/objects/batch", opaque: true},
	}
}

// judgeGraphQL takes requests that hold queries alone (https://spec.graphql.org/October2021/ section 2.3): no mutation, no
// subscription, and no stored query, of which the request shows only a hash.
func judgeGraphQL(body any, _ serverTools) error {
	return fields(body, "body", map[string]func(any, string) error{
		"variables": nil, "operationName": nil,
		"query": func(v any, where string) error {
			text, ok := v.(string)
			if !ok {
				return fmt.Errorf("%s is no string", where)
			}
			return onlyQueries(text)
		},
	})
}

// onlyQueries judges the definitions of a GraphQL document: outside of all brackets, each begins with "query", "fragment" or the
// selection of a query without a word. Strings, comments and brackets are read as the specification's lexer reads them, and
// nothing else is understood.
func onlyQueries(text string) error {
	text = strings.TrimPrefix(text, "\ufeff") // white space to GraphQL
	var open []byte
	begins := true // a definition, with what comes next
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '#':
			for i < len(text) && text[i] != '\n' && text[i] != '\r' {
				i++
			}
			continue
		case c == '"': // outside of brackets a description
			end, err := graphString(text, i)
			if err != nil {
				return err
			}
			i = end
			continue
		case nameByte(c):
			end := i
			for end < len(text) && nameByte(text[end]) {
				end++
			}
			if word := text[i:end]; begins && word != "query" && word != "fragment" {
				return fmt.Errorf("GraphQL %s: queries alone are allowed", bounded(word))
			}
			i, begins = end, false
			continue
		case strings.IndexByte("{([", c) >= 0:
			if begins && c != '{' {
				return errUnreadQuery
			}
			open, begins = append(open, c), false
		case strings.IndexByte("})]", c) >= 0:
			if len(open) == 0 || !matching(open[len(open)-1], c) {
				return errUnreadQuery
			}
			open = open[:len(open)-1]
			begins = c == '}' && len(open) == 0 // that was the selection, which is the end of every definition
		case strings.IndexByte(" \t\r\n,", c) >= 0:
		case begins || c < ' ' || c > '~':
			return errUnreadQuery
		}
		i++
	}
	if !begins {
		return errUnreadQuery
	}
	return nil
}

// errUnreadQuery is the refusal of what is no document of queries.
var errUnreadQuery = errors.New("not a GraphQL document of queries")

func matching(open, shut byte) bool {
	return open == '{' && shut == '}' || open == '(' && shut == ')' || open == '[' && shut == ']'
}

func nameByte(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// graphString gives the end of the string, or block string, that begins at i.
func graphString(text string, i int) (end int, err error) {
	if strings.HasPrefix(text[i:], `"""`) {
		for i += 3; i < len(text); i++ {
			switch {
			case strings.HasPrefix(text[i:], `\"""`):
				i += 3
			case strings.HasPrefix(text[i:], `"""`):
				return i + 3, nil
			}
		}
		return 0, errUnreadQuery
	}
	for i++; i < len(text) && text[i] != '\n' && text[i] != '\r'; i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1, nil
		}
	}
	return 0, errUnreadQuery
}
