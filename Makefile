# All a machine needs is Go; the race detector wants a C compiler, too.

GO ?= go
FUZZTIME ?= 10s
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.7.0

.PHONY: build run test race fuzz lint bench clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/dyups ./cmd/dyups

# The built-in configuration: proxy, interface and two backends on 127.0.0.1.
run: build
	./bin/dyups

test:
	$(GO) vet ./...
	$(GO) test ./...

race:
	$(GO) test -race ./...

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

# The rooms' own benchmarks, then nginx, HAProxy and dyups side by side in one run (Debian's nginx, haproxy and wrk; a
# missing proxy is skipped by name). BENCHFLAGS go to the second part: -scenario browser, -churn 100, -rounds 9 ...
bench: build
	$(GO) test -run '^$$' -bench . -benchmem ./codec ./lb ./upstream ./engine
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/dyupsbench ./cmd/dyupsbench
	bin/dyupsbench $(BENCHFLAGS)

clean:
	rm -rf bin
