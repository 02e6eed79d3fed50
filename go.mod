module github.com/agentjail/agentjail

go 1.26.0

toolchain go1.26.8

require (
	github.com/godbus/dbus/v5 v5.2.4 // limits: a scope of the user's systemd
	github.com/google/go-cmp v0.7.0 // tests: differences
	github.com/moby/profiles/seccomp v0.2.3 // tests: the system calls that Docker allows
	github.com/opencontainers/runtime-spec v1.3.0 // tests: the types of moby's profile
	github.com/pelletier/go-toml/v2 v2.4.3 // profiles
	github.com/rogpeppe/go-internal v1.16.0 // tests: txtar scripts
	github.com/seccomp/libseccomp-golang v0.12.0 // the system-call filter
	github.com/urfave/cli/v2 v2.27.7 // the command line
	github.com/vishvananda/netlink v1.3.1 // the cable, addresses, routes
	github.com/zalando/go-keyring v0.2.8 // Secret Service: where desktops keep passwords (sandbox/source.go)
	go.uber.org/goleak v1.3.0 // tests: goroutines that stay
	golang.org/x/crypto v0.58.0 // DER of Java's trust store
	golang.org/x/net v0.62.0 // DNS messages, public suffixes, A-labels
	golang.org/x/sys v0.49.0 // system calls
	golang.org/x/term v0.47.0 // the caller's terminal
	software.sslmate.com/src/go-pkcs12 v0.7.4 // tests: what Java's trust store is held to
)

require (
	github.com/BurntSushi/toml v1.5.0 // indirect
	github.com/cpuguy83/go-md2man/v2 v2.0.7 // indirect
	github.com/danieljoos/wincred v1.2.3 // indirect
	github.com/russross/blackfriday/v2 v2.1.0 // indirect
	github.com/vishvananda/netns v0.0.5 // indirect
	github.com/xrash/smetrics v0.0.0-20240521201337-686a1a2994c1 // indirect
	golang.org/x/exp/typeparams v0.0.0-20231108232855-2478ac86f678 // indirect
	golang.org/x/mod v0.41.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	honnef.co/go/tools v0.8.2 // indirect
)

tool honnef.co/go/tools/cmd/staticcheck
