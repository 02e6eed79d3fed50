package egress

import (
	"strconv"
	"strings"
)

// authority splits HOST[:PORT] and gives the canonical host.
func authority(s string, standard uint16) (host string, port uint16, reason Reason) {
	host, port = s, standard
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		n, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil || n == 0 || s[i+1] == '+' {
			if _, reason := Canonical(s); reason == NumericHost { // an IPv6 address without brackets
				return "", standard, reason
			}
			return "", standard, BadName
		}
		host, port = s[:i], uint16(n)
	}
	host, reason = Canonical(host)
	return host, port, reason
}

// hostText says whether s could be HOST[:PORT] with a name or an address. Which it is, and whether it is a good one, authority says.
func hostText(s string) bool {
	for i := range len(s) {
		if !hostByte(s[i]) && strings.IndexByte(".:[]%", s[i]) < 0 {
			return false
		}
	}
	return true
}

// spoken splits HOST[:PORT] for those who are told of it, however bad it is. The port is 0 where one is written that is none.
func spoken(s string, standard uint16) (host string, port uint16) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") || strings.IndexByte(s, ':') < i && s[i-1] != ']' {
		return s, standard
	}
	n, err := strconv.ParseUint(s[i+1:], 10, 16)
	switch {
	case s[i+1:] == "":
		return s[:i], 0
	case err != nil || n == 0:
		return s, 0
	}
	return s[:i], uint16(n)
}
