# The commands of a developer. `make test` is the one that must pass.

GO ?= go
export GO
BIN := bin/virtls

.PHONY: build novnc test peers lint interop bench bogo fuzz clean

build: ## one static binary, with noVNC if npm can get it
	@scripts/novnc || echo 'building without noVNC: the VNC gateway will have no console in the browser'
	CGO_ENABLED=0 $(GO) build -trimpath -o $(BIN) ./cmd/virtls

novnc: ## noVNC for the VNC gateway's page
	scripts/novnc

test: peers novnc ## every test, with the race detector, and the kept fuzz corpora
	scripts/test -timeout 25m ./...

peers: ## gcc and the real programs that tests talk to
	scripts/peers all

lint: ## format, vet, staticcheck, known vulnerabilities, go.mod
	scripts/lint

interop: peers novnc ## the full matrix against all generations of real programs
	VIRTLS_INTEROP=full scripts/test -timeout 3h ./...

bench: peers build ## speed and memory beside the peers', as tables
	$(GO) run ./internal/bench

bogo: ## BoringSSL's protocol tests, from the checkout that BORINGSSL names (docs/bogo.md)
	VIRTLS_BORINGSSL=$(BORINGSSL) $(GO) test -count=1 -timeout 30m -run TestBoGo ./internal/bogoshim

FUZZTIME ?= 1m
fuzz: ## every fuzz target for FUZZTIME
	scripts/fuzz $(FUZZTIME)

clean:
	rm -rf bin
