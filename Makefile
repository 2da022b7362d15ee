# All a machine needs is Go; the race detector wants a C compiler, too.

GO ?= go
FUZZTIME ?= 10s
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.7.0
BENCHSTAT ?= golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da

# Scenarios in which two builds are compared.
HEADLINE ?= small-64,browser,answer-1m,latency,churn-1000,churn-1000-latency,update-loaded

# Micro-benchmarks: package, time for each, which ones. Of lb the ones that take long are left out.
define MICRO
codec 50ms .
lb 20ms Pick$$/.*/n=(10|1000)$$/dead=0|NewPlan/rr
upstream 50ms .
engine 200ms .
endef
export MICRO

.PHONY: build run test race soak fuzz lint bench bench-quick bench-compare bench-micro clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/dyups ./cmd/dyups

# The built-in configuration: proxy, interface and two backends on 127.0.0.1.
run: build
	./bin/dyups

test:
	$(GO) vet ./...
	$(GO) test -timeout 20m ./...

race:
	$(GO) test -race -timeout 30m ./...

# A million changes under load; in "make test" it is a fiftieth of them.
soak:
	$(GO) test -count=1 -timeout 20m -v -run 'TestSoak$$' ./cmd/dyups -soak.changes=1000000

# Every fuzz target of every package, FUZZTIME each.
fuzz:
	@set -e; for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			echo "$$p $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x $$p; \
		done; \
	done

lint:
	@out=$$(gofmt -l .); if [ -n "$$out" ]; then echo "not formatted:"; echo "$$out"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags invariants ./...
	$(GO) run $(STATICCHECK) ./...

# Every scenario of the bench with all proxies that are installed, after the rooms' own benchmarks: under 15 minutes on two
# cores. A missing proxy is skipped by name. BENCHFLAGS go to dyupsbench: -scenario browser, -rounds 9, -proxies nginx,dyups …
bench: bin/dyupsbench bench-micro
	bin/dyupsbench $(BENCHFLAGS)

# The headline scenarios alone: under two minutes with building.
bench-quick: bin/dyupsbench
	bin/dyupsbench -suite quick $(BENCHFLAGS)

# The working tree beside another commit in one run: make bench-compare REF=HEAD~1
bench-compare:
	@[ -n "$(REF)" ] || { echo "cannot compare with nothing: make bench-compare REF=COMMIT" >&2; exit 2; }
	@GO="$(GO)" BENCHSTAT="$(BENCHSTAT)" MICRO="$$MICRO" HEADLINE="$(HEADLINE)" bench/compare.sh "$(REF)" $(BENCHFLAGS)

# The rooms' own benchmarks, six times each, summed up by benchstat; about a minute.
bench-micro:
	@mkdir -p bench/out
	@echo "$$MICRO" | while read -r package length pattern; do \
		$(GO) test -run '^$$' -count 6 -benchmem -benchtime $$length -bench "$$pattern" ./$$package </dev/null || exit 1; \
	done > bench/out/micro.txt || { cat bench/out/micro.txt; exit 1; }
	$(GO) run $(BENCHSTAT) bench/out/micro.txt

.PHONY: bin/dyupsbench
bin/dyupsbench: build
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/dyupsbench ./cmd/dyupsbench

clean:
	rm -rf bin bench/out
