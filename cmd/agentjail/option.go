package main

import (
	"flag"
	"fmt"
	"slices"
	"strings"
)

// option is one flag. It is a cli.Flag of our own because those of urfave/cli refuse `-p a --profile b` ("Cannot use two forms of
// the same flag") and lose the order of repeated flags; it uses what the standard flag package has for this, flag.Func.
type option struct {
	name  string // without dashes
	short string // one letter, or ""
	value string // what stands for the value in the help; "" for a switch
	usage string // one line; "(repeatable)" where it is
	set   func(string) error
}

// Apply registers both spellings with the flag set.
func (o *option) Apply(set *flag.FlagSet) error {
	for _, name := range o.spellings() {
		if o.value == "" {
			set.BoolFunc(name, o.usage, o.set)
		} else {
			set.Func(name, o.usage, o.set)
		}
	}
	return nil
}

func (o *option) spellings() []string {
	if o.short == "" {
		return []string{o.name}
	}
	return []string{o.name, o.short}
}

// Names gives the long name alone: urfave/cli copies the values of one name to the others.
func (o *option) Names() []string { return []string{o.name} }

// IsSet is asked by urfave/cli for environment variables and required flags, which we do not have.
func (o *option) IsSet() bool { return false }

// String is the left column of the help.
func (o *option) String() string {
	s := "    --" + o.name
	if o.short != "" {
		s = "-" + o.short + ", --" + o.name
	}
	if o.value != "" {
		s += " " + o.value
	}
	return s
}

// one makes the setter of a flag with one value; the last one given wins, so that an alias can be overridden.
func one(into *string) func(string) error {
	return func(s string) error {
		if s == "" {
			return fmt.Errorf("is empty")
		}
		*into = s
		return nil
	}
}

// many makes the setter of a repeatable flag. A comma is part of the value: a path or an environment variable may hold one.
func many(into *[]string) func(string) error {
	return func(s string) error {
		if s == "" {
			return fmt.Errorf("is empty")
		}
		*into = append(*into, s)
		return nil
	}
}

// choice makes the setter of a flag that knows its words.
func choice(into *string, words ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("want %s", strings.Join(words, " or "))
		}
		*into = s
		return nil
	}
}

// sessionName makes the setter of --name. A name begins with a letter and an ID with a digit, so neither is taken for the other.
func sessionName(into *string) func(string) error {
	return func(s string) error {
		if !isSessionName(s) {
			return fmt.Errorf("want a letter, then letters, digits, '.', '_' and '-', 64 at most")
		}
		*into = s
		return nil
	}
}

func isSessionName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	return s != "" && len(s) <= 64 && strings.Contains(letters, s[:1]) && strings.Trim(s, letters+"0123456789._-") == ""
}

// onOff makes the setter of a switch.
func onOff(into *bool) func(string) error {
	return func(s string) error {
		switch s {
		case "true":
			*into = true
		case "false":
			*into = false
		default:
			return fmt.Errorf("want true or false")
		}
		return nil
	}
}
