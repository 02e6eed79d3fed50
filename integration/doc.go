// Package integration asks one question: does the built binary keep its promises?
//
// It has no code of its own, only tests. deps_test.go holds which package may import what. The others run the static binary the way
// a person does, through scripts under testdata, each file named after the promise that it holds; script_test.go explains the
// commands that scripts may use. AGENTJAIL_BIN names the binary to test; without it the tests build one.
package integration
