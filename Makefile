# The commands of a developer. `make test` is the one that must pass.

GO ?= go
BIN := bin/virtls
export VIRTLS_PEER_REPORT := $(CURDIR)/bin/peers.txt

.PHONY: build test peers lint interop bench fuzz clean

build: ## one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/virtls

test: peers ## every test, with the race detector, and the kept fuzz corpora
	@mkdir -p bin && rm -f $(VIRTLS_PEER_REPORT)
	CGO_ENABLED=1 $(GO) test -race -timeout 25m ./...
	@if [ -s $(VIRTLS_PEER_REPORT) ]; then echo; echo "NOT TESTED, because it is missing here:"; sort -u $(VIRTLS_PEER_REPORT); fi

peers: ## gcc and the real programs that tests talk to
	scripts/peers all

lint: ## format, vet, staticcheck, known vulnerabilities, go.mod
	scripts/lint

interop: peers ## the full matrix against all generations of real programs
	@mkdir -p bin && rm -f $(VIRTLS_PEER_REPORT)
	VIRTLS_INTEROP=full CGO_ENABLED=1 $(GO) test -race -timeout 3h ./...
	@if [ -s $(VIRTLS_PEER_REPORT) ]; then echo; echo "NOT TESTED, because it is missing here:"; sort -u $(VIRTLS_PEER_REPORT); fi

bench: peers build ## speed and memory beside the peers', as tables
	$(GO) run ./internal/bench

FUZZTIME ?= 1m
fuzz: ## every fuzz target for FUZZTIME
	scripts/fuzz $(FUZZTIME)

clean:
	rm -rf bin
