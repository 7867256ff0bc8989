# make test      all tests, under the race detector; installs what they need (Debian)
# make test-clients   foreign SDKs through the door; says what it skips
# make check     formatting, vet, staticcheck, the types of the console's page
# make generate  whatever is generated, anew
# make bench     the benchmarks, each beside its floor
# make shots     pictures of the phone page and the console into ./shots

GO          ?= go
TYPESCRIPT  ?= 7.0.2
STATICCHECK ?= honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: test test-clients check generate bench shots tools

test: tools
	$(GO) test -race -shuffle=on -timeout 30m ./...
	cd e2e && $(GO) test -race -count=1 -timeout 60m ./...

# What runs here: silenceper/wechat (Go), co-wechat-api (Node), and the examples in curl,
# Python, Node, Java and Go, each as far as its interpreter is there.
test-clients:
	@if command -v npm >/dev/null 2>&1; then npm install --no-audit --no-fund --prefix e2e/testdata/node; \
	else echo "SKIPPED: co-wechat-api, there is no npm"; fi
	@command -v node >/dev/null 2>&1 || echo "SKIPPED: co-wechat-api, there is no node"
	@for tool in curl openssl python3 java; do command -v $$tool >/dev/null 2>&1 || echo "SKIPPED: the examples that need $$tool"; done
	@echo "SKIPPED: WxJava, EasyWeChat, wechatpy, PowerWeChat, Senparc: read, not run (Maven Central, PyPI, Composer and NuGet were not to be had,"
	@echo "SKIPPED: and the Go proxy does not have PowerWeChat); see docs/sdks.md"
	cd e2e && $(GO) test -count=1 -v -run 'ThroughTheDoor|BehindTheRelay|TestExamples$$' -timeout 12m .

check:
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	cd e2e && $(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) generate ./... && git diff --exit-code -- internal/console/dist
	cd web/bundle && $(GO) vet .
	npx --yes --package typescript@$(TYPESCRIPT) -- tsc -p web

generate:
	$(GO) generate ./...

bench:
	$(GO) test -run '^$$' -bench . -benchmem ./...
	cd e2e && $(GO) test -run '^$$' -bench . -benchmem ./...

shots: tools
	cd e2e && KEFU_SHOTS=$(CURDIR)/shots $(GO) test -run Shots -timeout 20m .

# The race detector needs a C compiler; the phone page is tested in a real browser, the
# store on a real PostgreSQL, which the tests start themselves (KEFU_NO_POSTGRES=1 does without).
tools:
	@missing=; \
	command -v gcc >/dev/null 2>&1 || missing="$$missing gcc libc6-dev"; \
	command -v strace >/dev/null 2>&1 || missing="$$missing strace"; \
	command -v curl >/dev/null 2>&1 || missing="$$missing curl"; \
	command -v chromium >/dev/null 2>&1 || missing="$$missing chromium"; \
	fc-list 2>/dev/null | grep -qi 'noto.*cjk' || missing="$$missing fonts-noto-cjk fontconfig"; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null 2>&1 || [ "$$KEFU_NO_POSTGRES" = 1 ] || missing="$$missing postgresql"; \
	if [ -n "$$missing" ]; then \
	  command -v apt-get >/dev/null 2>&1 || { echo "please install:$$missing"; exit 1; }; \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$missing; \
	fi
