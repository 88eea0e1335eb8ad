# Developer commands. `make help` lists them.

SOAK := bin/soak
comma := ,
LINT := go tool -modfile=tools/go.mod staticcheck

.PHONY: help build test browser check lint vet accept kills campaign bench fuzz clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## bin/soak, the one to use in scripts and CI, and bin/broker for the Dockerfile; both static
	CGO_ENABLED=0 go build -trimpath -o $(SOAK) ./cmd/soak
	CGO_ENABLED=0 go build -trimpath -o bin/broker ./cmd/broker

test: ## all tests, with the skipped ones and why
	@GOFLAGS="$(GOFLAGS) -v -timeout=30m" go test ./... > test.out 2>&1; code=$$?; \
	 grep -E '^(ok|FAIL|---|panic:|\?)' test.out | grep -v '^--- PASS' ; \
	 echo 'skipped:'; grep -A1 -E '^ *--- SKIP' test.out || echo '  none'; exit $$code

browser: ## the tests of reports and gates' pages in chromium (a module of its own; SHOTS=DIR keeps pictures)
	cd e2e/browser && SHOTS=$(abspath $(SHOTS)) go test ./...

check: lint vet test browser ## what CI runs: format, vet, lint, all tests

lint: ## gofmt and staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo 'error: not formatted; run gofmt -w .'; exit 1; }
	$(LINT) ./...

vet: ## go vet, here and for linux/arm64 and darwin/arm64
	go vet ./...
	GOOS=linux GOARCH=arm64 go vet ./...
	GOOS=darwin GOARCH=arm64 go vet ./...

accept: build ## the acceptance runs: every bug and the clean broker, N times on both drivers (over an hour; N=10)
	go run ./e2e/accept -soak $(SOAK) -n $(or $(N),10) -drivers $(or $(DRIVERS),docker,process) $(ACCEPT)

kills: build ## the runner killed with SIGKILL in each kind of fault: nothing may stay broken or left (about 15 minutes; N=50)
	go run ./e2e/kills -soak $(SOAK) -n $(or $(N),50) -drivers $(if $(DRIVERS),$(DRIVERS),process$(comma)docker)

campaign: build ## nightly: plant every bug in the simulator, then 100,000 seeds of the clean broker (SEEDS=N, FROM=N, OUT=DIR; goes on where it was)
	$(SOAK) selftest
	$(SOAK) campaign --seeds $(or $(SEEDS),100000) --from $(or $(FROM),1) --out $(or $(OUT),results/campaign)

bench: build ## whole clusters on both drivers (DRIVERS=process; a module of its own), then benchmarks of the hot paths
	cd e2e/bench && go run . -soak $(abspath $(SOAK)) -drivers $(or $(DRIVERS),process$(comma)docker)
	go test -run '^$$' -bench . -benchmem ./...

fuzz: ## each decoder of outside bytes for 30 s
	@for p in $$(grep -rl '^func Fuzz' --include=*_test.go . | xargs -n1 dirname | sort -u); do \
	  for f in $$(grep -ho '^func Fuzz[A-Za-z0-9]*' $$p/*_test.go | awk '{print $$2}'); do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime 30s $$p || exit 1; done; done

clean: ## build output; leftovers of runs are removed by `soak clean`
	rm -rf bin test.out
