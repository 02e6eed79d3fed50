// Package egress answers one question: which hosts, which requests?
package egress
