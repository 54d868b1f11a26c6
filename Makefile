# SPDX-License-Identifier: Apache-2.0
# GeoStream. `make help` lists the targets; everything made lands in build/.

BUILD   ?= build
PREFIX  ?= /usr
DESTDIR ?=
CC      ?= gcc
CLANG   ?= clang
BPFTOOL ?= $(shell command -v bpftool || echo /usr/sbin/bpftool)
VERSION := 0.1.0

LIBS      := libbpf libxdp libpq libmaxminddb jansson libmnl libmicrohttpd libssl libcrypto libnghttp2
WARNINGS  := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2 \
             -Wundef -Wpointer-arith -Wwrite-strings -Werror
CORE_WARNINGS := -Wconversion -Wno-sign-conversion
CPPFLAGS  += -I. -I$(BUILD)/gen -D_GNU_SOURCE -DGS_VERSION='"$(VERSION)"' -DGS_PREFIX='"$(PREFIX)"'
CFLAGS    ?= -O2 -g
# Asked once, and no sooner than something is compiled: on a bare machine pkg-config comes with .deps.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(LIBS) 2>/dev/null))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $(shell pkg-config --libs $(LIBS) 2>/dev/null))$(PKG_LIBS)
ALL_CFLAGS = -std=gnu11 $(WARNINGS) -fno-strict-aliasing $(CFLAGS) $(PKG_CFLAGS)
LDLIBS     = $(PKG_LIBS) -lm -lpthread
# Of what is sanitized nobody wants the speed, but lines in stack traces: it compiles in half the time.
SANITIZE  := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1 -g1
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Werror -I. \
              -I/usr/include/$(shell $(CC) -print-multiarch 2>/dev/null)

V ?= 0
ifeq ($(V),0)
Q := @
msg = @printf '  %-8s %s\n' '$(1)' '$(2)'
else
Q :=
msg = @:
endif

CORE_SRC    := $(wildcard user/core/*.c)
LIB_SRC     := $(wildcard user/base/*.c user/app/*.c user/adapters/*.c)
CTL_SRC     := $(wildcard user/ctl/*.c) user/geostreamctl.c
LOADER_LIB_SRC := $(filter-out loader/geostream-loader.c,$(wildcard loader/*.c))
BPF_SRC     := $(wildcard bpf/*.bpf.c)
TEST_BPF_SRC := $(wildcard tests/bpf/*.bpf.c tests/bench/*.bpf.c tests/lab/*.bpf.c tests/e2e/vm/*.bpf.c)
UNIT_SRC    := $(wildcard tests/unit/test_*.c)
DB_SRC      := $(wildcard tests/db/test_*.c)
BPF_TEST_SRC := $(wildcard tests/bpf/test_*.c)
CITY_SRC    := $(wildcard tests/bench/city_*.c)
TEST_LIB_SRC := $(filter-out $(BPF_TEST_SRC) %.bpf.c,$(wildcard tests/fakes/*.c tests/bpf/*.c)) \
                $(CITY_SRC) user/geoip/mmdb_writer.c user/geoip/lines.c user/geoip/zone_tab.c tests/lab/mmdb_file.c

OBJ       = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
ASAN_OBJ  = $(patsubst %.c,$(BUILD)/asan/%.o,$(1))
BPF_OBJ   = $(patsubst %.bpf.c,$(BUILD)/bpf/%.bpf.o,$(notdir $(1)))
PROGRAMS := $(BUILD)/geostreamd $(BUILD)/geostreamctl $(BUILD)/geostream-loader
MAN_PAGES := $(patsubst docs/man/%.scd,$(BUILD)/man/%,$(wildcard docs/man/*.scd))
SQL      := $(sort $(wildcard user/migrations/*.sql))

# As many jobs as processors, or as JOBS says; what make itself calls takes part in them.
JOBS ?= $(shell nproc)
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all help build run test test-integration test-race test-coverage check check-db check-bpf \
        check-e2e benchmark bench bench-quick bench-docs lint format clean install deps migrate-up geoip vagrant-up
all: build

help: ## what one can do here
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: $(BUILD)/.deps
$(BUILD)/.deps: .ci/packages.sh
	@mkdir -p $(@D)
	$(Q).ci/packages.sh
	@touch $@

# The goals come again, so that variables which ask pkg-config see what was just installed.
build: deps ## programs, BPF objects, manual pages, GeoIP database of this machine's packages
	@$(MAKE) --no-print-directory programs bpf geoip man
programs: $(PROGRAMS); @:
bpf: $(call BPF_OBJ,$(BPF_SRC) $(TEST_BPF_SRC)); @:
.PHONY: programs bpf

# ---- compile ---------------------------------------------------------------------------------
$(BUILD)/obj/user/core/%.o $(BUILD)/asan/user/core/%.o: ALL_CFLAGS += $(CORE_WARNINGS)
$(BUILD)/obj/%.o: %.c | $(BUILD)/.deps
	$(call msg,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c $< -o $@
$(BUILD)/asan/%.o: %.c | $(BUILD)/.deps
	$(call msg,CC asan,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(SANITIZE) -MMD -MP -c $< -o $@

define BPF_RULE
$(BUILD)/bpf/%.bpf.o: $(1)/%.bpf.c | $(BUILD)/.deps
	$$(call msg,BPF,$$<)
	@mkdir -p $$(@D)
	$$(Q)$$(CLANG) $$(BPF_CFLAGS) -MMD -MP -MF $$(@:.o=.d) -MT $$@ -c $$< -o $$@.tmp
	$$(Q)llvm-strip -g $$@.tmp && mv $$@.tmp $$@
endef
$(foreach dir,bpf tests/bpf tests/bench tests/lab tests/e2e/vm,$(eval $(call BPF_RULE,$(dir))))

# Countries of the distribution's packages; user/geoip/README.md has source and licence.
TOR_GEOIP := /usr/share/tor/geoip /usr/share/tor/geoip6
ZONE_TAB  := /usr/share/zoneinfo/zone.tab
geoip: $(BUILD)/geoip/geostream-country.mmdb; @:
$(BUILD)/geoip/mkgeoip: $(call OBJ,$(wildcard user/geoip/*.c)) $(BUILD)/libgscore.a
	$(call msg,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $^ -lm -o $@
$(TOR_GEOIP) $(ZONE_TAB): | $(BUILD)/.deps
$(BUILD)/geoip/geostream-country.mmdb: $(BUILD)/geoip/mkgeoip $(TOR_GEOIP) $(ZONE_TAB)
	$(call msg,GEOIP,$@)
	$(Q)$< $(TOR_GEOIP) $(ZONE_TAB) $@ > $@.log

# A database of a city-level one's shape; made on demand.
city: $(BUILD)/geoip/city.mmdb ## a made-up GeoIP database of a city-level one's size, for benchmarks
$(BUILD)/bench/mkcity: $(BUILD)/obj/tests/bench/mkcity.o $(BUILD)/libtest.a $(BUILD)/libgs.a $(BUILD)/libgscore.a
	$(call msg,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(LDLIBS) -lcmocka -o $@
$(BUILD)/geoip/city.mmdb: $(BUILD)/bench/mkcity tests/bench/city_prefixes.csv $(BUILD)/geoip/geostream-country.mmdb $(ZONE_TAB)
	$(call msg,CITY,$@)
	$(Q)$< --histogram tests/bench/city_prefixes.csv $(BUILD)/geoip/geostream-country.mmdb $(ZONE_TAB) $@.tmp > $@.log && mv $@.tmp $@ && tail -n 7 $@.log
.PHONY: city

# Migrations travel inside the programs.
$(BUILD)/gen/migrations.inc: $(SQL) user/migrations/embed.sh
	@mkdir -p $(@D)
	$(Q)user/migrations/embed.sh $(SQL) > $@
$(BUILD)/obj/user/adapters/migrate.o $(BUILD)/asan/user/adapters/migrate.o: $(BUILD)/gen/migrations.inc

$(BUILD)/libgscore.a: $(call OBJ,$(CORE_SRC))
$(BUILD)/libgs.a: $(call OBJ,$(LIB_SRC))
$(BUILD)/libloader.a: $(call OBJ,$(LOADER_LIB_SRC))
$(BUILD)/libtest.a: $(call OBJ,$(TEST_LIB_SRC))
$(BUILD)/asan/libgscore.a: $(call ASAN_OBJ,$(CORE_SRC))
$(BUILD)/asan/libgs.a: $(call ASAN_OBJ,$(LIB_SRC))
$(BUILD)/asan/libloader.a: $(call ASAN_OBJ,$(LOADER_LIB_SRC))
$(BUILD)/asan/libtest.a: $(call ASAN_OBJ,$(TEST_LIB_SRC))
$(BUILD)/%.a:
	$(call msg,AR,$@)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/geostreamd: $(call OBJ,user/geostreamd.c) $(BUILD)/libgs.a $(BUILD)/libgscore.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(LDLIBS) -o $@
$(BUILD)/geostreamctl: $(call OBJ,$(CTL_SRC)) $(BUILD)/libgs.a $(BUILD)/libgscore.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(LDLIBS) -o $@
# Three libraries only: it also runs where no controller does, and in the image of tests/e2e/vm.
$(BUILD)/geostream-loader: $(call OBJ,loader/geostream-loader.c) $(BUILD)/libloader.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(shell pkg-config --libs libbpf libxdp jansson 2>/dev/null) -o $@

man: $(MAN_PAGES); @:
$(BUILD)/man/%: docs/man/%.scd docs/man/page.sh $(BUILD)/geostreamctl
	$(call msg,MAN,$@)
	@mkdir -p $(@D)
	$(Q)docs/man/page.sh $< $(BUILD)/geostreamctl | scdoc > $@
.PHONY: man

# ---- tests -----------------------------------------------------------------------------------
UNIT_TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(UNIT_SRC))
DB_TESTS   := $(patsubst tests/db/%.c,$(BUILD)/tests/db/%,$(DB_SRC))
BPF_TESTS  := $(patsubst tests/bpf/%.c,$(BUILD)/tests/bpf/%,$(BPF_TEST_SRC))
ASAN_LIBS  := $(BUILD)/asan/libtest.a $(BUILD)/asan/libgs.a $(BUILD)/asan/libgscore.a
$(BUILD)/tests/unit/%: $(BUILD)/asan/tests/unit/%.o $(ASAN_LIBS)
	$(call msg,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(SANITIZE) $^ $(LDLIBS) -lcmocka -o $@
# What is held to a measure of work is built as it ships: sanitizers make some of it ten times dearer.
$(BUILD)/tests/unit/test_stalls: $(BUILD)/obj/tests/unit/test_stalls.o $(BUILD)/libtest.a $(BUILD)/libgs.a $(BUILD)/libgscore.a
	$(call msg,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(LDLIBS) -lcmocka -o $@
$(BUILD)/tests/db/%: $(BUILD)/asan/tests/db/%.o $(ASAN_LIBS)
	$(call msg,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(SANITIZE) $^ $(LDLIBS) -lcmocka -o $@
$(BUILD)/tests/bpf/%: $(BUILD)/obj/tests/bpf/%.o $(BUILD)/libtest.a $(BUILD)/libloader.a $(BUILD)/libgs.a $(BUILD)/libgscore.a
	$(call msg,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(LDLIBS) -lcmocka -o $@
BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(filter-out %.bpf.c,$(wildcard tests/bench/bench_*.c)))
BENCH_LIB := $(filter-out tests/bench/bench_%.c tests/bench/mkcity.c $(CITY_SRC) %.bpf.c,$(wildcard tests/bench/*.c))
$(BUILD)/libbench.a: $(call OBJ,$(BENCH_LIB))
# The one that a test runs.
bench-tools: $(BUILD)/bench/bench_xdp; @:
.PHONY: bench-tools
$(BUILD)/bench/%: $(BUILD)/obj/tests/bench/%.o $(BUILD)/libbench.a $(BUILD)/libtest.a $(BUILD)/libloader.a $(BUILD)/libgs.a $(BUILD)/libgscore.a
	$(call msg,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $^ $(LDLIBS) -lcmocka -o $@

$(BUILD)/tests/unit/test_doctor: $(BUILD)/asan/libloader.a
# These look at what the build made.
$(BUILD)/tests/unit/test_mkcity: | $(BUILD)/bench/mkcity
$(BUILD)/tests/unit/test_mmdb_real $(BUILD)/tests/unit/test_mkgeoip: | $(BUILD)/geoip/geostream-country.mmdb
$(BUILD)/tests/unit/test_ctl $(BUILD)/tests/unit/test_explain $(BUILD)/tests/unit/test_geo_check: | $(BUILD)/geostreamctl

unit-tests: $(UNIT_TESTS); @:
db-tests: $(DB_TESTS); @:
bpf-tests: $(BPF_TESTS); @:
.PHONY: unit-tests db-tests bpf-tests

check: build ## unit tests (anyone; ASan, UBSan)
	@$(MAKE) --no-print-directory unit-tests
	@BUILD=$(BUILD) tests/run.sh unit
check-db: build ## the database adapter and CLI on a private PostgreSQL
	@$(MAKE) --no-print-directory db-tests
	@BUILD=$(BUILD) tests/run.sh db
check-bpf: build ## packets through the real program (root)
	@$(MAKE) --no-print-directory bpf-tests
	@BUILD=$(BUILD) tests/run.sh bpf
check-e2e: build ## the lab, the loader, other kernels (root)
	@$(MAKE) --no-print-directory lab-tools bench-tools
	@BUILD=$(BUILD) tests/run.sh e2e
test-integration: build ## database and end to end, with nothing faked (root)
	@$(MAKE) --no-print-directory db-tests lab-tools bench-tools
	@BUILD=$(BUILD) tests/run.sh db e2e
test: build ## everything: lint, unit, races, database, packets, end to end (root)
	@$(MAKE) --no-print-directory unit-tests db-tests bpf-tests lab-tools bench-tools race-tests
	@BUILD=$(BUILD) tests/run.sh all

# The same tests built another way are the same goals in another build folder.
RACE_TESTS := $(addprefix $(BUILD)/race/tests/,race/racy $(shell sed '/^\#/d' tests/race/threads))
test-race: build ## the tests with threads, under ThreadSanitizer
	@$(MAKE) --no-print-directory race-tests
	@BUILD=$(BUILD) tests/run.sh race
race-tests:
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/race CFLAGS='-O1 -g' SANITIZE=-fsanitize=thread $(RACE_TESTS)
$(BUILD)/tests/race/%: tests/race/%.c
	$(call msg,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(SANITIZE) $^ -lpthread -o $@
test-coverage: build ## lines the unit and database tests reach, by folder
	@$(MAKE) --no-print-directory BUILD=$(BUILD)/cov CFLAGS='-O0 -g --coverage' SANITIZE= $(BUILD)/cov/geostreamd \
		$(BUILD)/cov/geostreamctl geoip unit-tests db-tests
	@tests/coverage.sh $(BUILD)/cov
.PHONY: race-tests

# ---- the lab ---------------------------------------------------------------------------------
$(BUILD)/lab-flowgen: $(call OBJ,tests/lab/flowgen.c)
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $^ -o $@
$(BUILD)/lab-talk: $(call OBJ,tests/lab/talk.c)
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $^ -o $@
$(BUILD)/lab-slowline: $(call OBJ,tests/lab/slowline.c)
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $^ -o $@
$(BUILD)/lab-places: $(call OBJ,tests/lab/places.c tests/lab/mmdb_file.c user/geoip/mmdb_writer.c) $(BUILD)/libgscore.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $^ -lm -o $@
$(BUILD)/lab-systems: $(call OBJ,tests/lab/systems.c tests/lab/mmdb_file.c user/geoip/mmdb_writer.c) $(BUILD)/libgscore.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $^ -lm -o $@
# What it does not need of all those libraries would have to be in the small machine, too.
$(BUILD)/vm-bond: $(call OBJ,tests/e2e/vm/bond.c) $(BUILD)/libtest.a $(BUILD)/libloader.a $(BUILD)/libgs.a $(BUILD)/libgscore.a
	$(call msg,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) -Wl,--as-needed $^ $(LDLIBS) -lcmocka -o $@
lab-tools: $(BUILD)/lab-flowgen $(BUILD)/lab-talk $(BUILD)/lab-slowline $(BUILD)/lab-places $(BUILD)/vm-bond $(BUILD)/lab-systems; @:
.PHONY: lab-tools
run: build ## the lab and its story, until Ctrl-C; ONCE=1: leave after it; IFACE= CONFIG= MODE=: a real NIC (root)
	@$(MAKE) --no-print-directory lab-tools
	@BUILD=$(BUILD) tests/lab/run.sh

vagrant-up: ## an edge, two regions and a client as virtual machines (vagrant/README.md)
	cd vagrant && vagrant up && vagrant ssh client -c /vagrant/vagrant/try.sh

# Without DATABASE: libpq's own PGHOST, PGSERVICE, ... The recipe is not shown: it may hold a password.
migrate-up: build ## bring a database's schema up to date: DATABASE="host=... dbname=..." or a URI
	@GEOSTREAM_DATABASE="$${DATABASE:-}" $(BUILD)/geostreamctl db migrate

# ---- care ------------------------------------------------------------------------------------
lint: build ## layers, purity, headers, shellcheck, clang-format, both compilers, clang-tidy
	@BUILD=$(BUILD) tests/lint/run.sh
format: ## put the C files into the project's shape
	clang-format -i $$(git ls-files -co --exclude-standard '*.c' '*.h')
clean: ## remove build/
	rm -rf $(BUILD)
install: build ## programs, BPF objects, manual pages, GeoIP data under $(DESTDIR)$(PREFIX)
	install -D -t $(DESTDIR)$(PREFIX)/sbin $(BUILD)/geostreamd $(BUILD)/geostream-loader
	install -D -t $(DESTDIR)$(PREFIX)/bin $(BUILD)/geostreamctl
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 $(filter %.1,$(MAN_PAGES))
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man5 $(filter %.5,$(MAN_PAGES))
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man8 $(filter %.8,$(MAN_PAGES))
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/geostream/bpf $(call BPF_OBJ,$(BPF_SRC))
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/geostream $(BUILD)/geoip/geostream-country.mmdb
	install -D -m 644 user/ctl/geostreamctl.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/geostreamctl
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/doc/geostream docs/geostream.conf docs/reasons.md
	test -e $(DESTDIR)/etc/geostream/geostream.conf || \
		install -D -m 644 docs/geostream.conf $(DESTDIR)/etc/geostream/geostream.conf
	install -D -m 644 maps/gs_maps.h $(DESTDIR)$(PREFIX)/include/geostream/gs_maps.h

# ---- benchmarks: never tests, they only print (tests/bench/README.md) -------------------------
BENCH_FLAGS ?=
benchmark: bench ## the same as bench
bench: build ## what all of it takes: a table, build/bench.json, plots; most of an hour (root)
	@$(MAKE) --no-print-directory $(BENCHES) lab-tools city
	@BUILD=$(BUILD) tests/bench/run.sh full $(BENCH_FLAGS)
	@BUILD=$(BUILD) tests/bench/rest.sh
	@BUILD=$(BUILD) tests/bench/failover.sh
	@tests/bench/plots.sh $(BUILD)/bench.json $(BUILD)
bench-quick: build ## the most of it in less than a minute, beside the last such run (root)
	@$(MAKE) --no-print-directory $(BENCHES)
	@BUILD=$(BUILD) tests/bench/run.sh quick $(BENCH_FLAGS)
bench-docs: ## tables of docs/benchmarks.md and its plots from build/bench.json
	@BUILD=$(BUILD) tests/bench/docs.sh

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
