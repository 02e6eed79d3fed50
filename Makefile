# make and Go are all that a machine needs: .ci/need installs what is missing, and says so first.
#
#   make build     bin/agentjail, one static binary; built again only when its sources changed
#   make run       builds it and runs CMD in this directory, in a jail; without CMD a short tour:
#                      make run CMD='python3 -m pytest'      make run CMD='claude' FLAGS='--profile claude'
#   make test      all tests, as an ordinary user; started as root also a part of them as root
#   make soak      what takes long: an hour's worth of requests in SOAK (10m), a hostile neighbour, other people's test suites
#   make bench     how long a launch takes, and how fast the door is
#   make bench-door  what the door lets pass and what it refuses, of traffic with labels
#   make install   PREFIX (/usr/local), DESTDIR: the binary, the man page, the completions
#   make clean

GO      ?= go
PREFIX  ?= /usr/local
DESTDIR ?=

# netgo, osusergo: a static glibc must not load name service modules at run time. The other tags leave out what
# urfave/cli brings along and agentjail never uses.
TAGS    := netgo osusergo urfave_cli_no_docs urfave_cli_no_suggest
LDFLAGS := -s -w -linkmode external -extldflags -static
# git refuses to read a checkout of somebody else's, and go build then stops unless told not to ask.
VCS     := $(shell git status --porcelain >/dev/null 2>&1 && echo auto || echo false)
SOURCES := go.mod go.sum $(shell find cmd sandbox seccomp netns profiles -type f ! -name '*_test.go' ! -path '*/testdata/*' 2>/dev/null)

export TAGS GO

.PHONY: build run test soak bench bench-door install clean fmt lint
.DELETE_ON_ERROR:

build: bin/agentjail

bin/agentjail: $(SOURCES) Makefile
	@.ci/need build
	CGO_ENABLED=1 $(GO) build -buildvcs=$(VCS) -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o $@ ./cmd/agentjail

# $(CMD) is words for the shell, as typed on make's command line; agentjail itself never sees a shell string.
run: build
ifdef CMD
	@bin/agentjail $(FLAGS) -- $(CMD)
else
	@.ci/tour bin/agentjail
endif

test: build
	@.ci/need test
	@.ci/test

soak: build
	@.ci/need test
	AGENTJAIL_BIN='$(CURDIR)/bin/agentjail' $(GO) test -count=1 -v -p 1 -timeout 2h -tags '$(TAGS) soak' -run TestSoak ./...

bench: build
	AGENTJAIL_BIN='$(CURDIR)/bin/agentjail' $(GO) test -tags '$(TAGS)' -run '^$$' -bench . -benchtime 20x -timeout 60m ./...

bench-door:
	@.ci/need build
	@cd netns/egress && $(GO) test -count=1 -tags '$(TAGS)' -run '^TestMisses$$' -misses

install: build
	install -D -m 0755 bin/agentjail '$(DESTDIR)$(PREFIX)/bin/agentjail'
	@set -e; if [ -f cmd/agentjail/agentjail.1 ]; then \
		install -D -m 0644 cmd/agentjail/agentjail.1 '$(DESTDIR)$(PREFIX)/share/man/man1/agentjail.1'; fi
	@set -e; install -d '$(DESTDIR)$(PREFIX)/share/bash-completion/completions' '$(DESTDIR)$(PREFIX)/share/zsh/site-functions' \
		'$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d'; \
	bin/agentjail completion bash >'$(DESTDIR)$(PREFIX)/share/bash-completion/completions/agentjail'; \
	bin/agentjail completion zsh  >'$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_agentjail'; \
	bin/agentjail completion fish >'$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/agentjail.fish'

fmt:
	gofmt -w cmd sandbox seccomp netns profiles integration .ci

lint:
	@.ci/run lint

clean:
	rm -rf bin
