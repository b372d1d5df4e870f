# SPDX-License-Identifier: MIT
# The front door. CMake does the work; each target first installs, or names, what it misses.
#
#   make            build build/release          make test       everything, about 10 minutes
#   make run        build, then `attn demo`      make long       exhaustive grids
#   make bench      speed on this machine        make sanitize   asan, tsan and memcheck (valgrind)
#   make install    PREFIX=/usr/local DESTDIR=   make fuzz       SECONDS=60 per target
#   make format     clang-format 14              make qemu       ARM64, and x86 without AVX
#   make tidy       clang-tidy 14                make clean
#                   SHARE=4 draws a quarter of the cases of qemu and of valgrind
#   make bench-compare              beside PyTorch and others; SUITES="prefill decode -t 2"
#   make bench-kernels              the kernels alone, in cycles, beside their floors
#   make performance                docs/performance.md, measured anew (half an hour), or some
#                                   of it: PARTS="--parts bench,compare --suites half,decode"
#   make pages      the gallery's pages and recorded values; COSTS=--measure measures anew

BUILD   ?= build
PREFIX  ?= /usr/local
JOBS    ?= $(shell nproc)
SECONDS ?= 60
SHARE   ?= 1
CMAKE   ?= cmake
PYTHON  ?= python3

setup = tools/setup.sh
# $(call build,name,options): configures and builds $(BUILD)/name
build = env -u MAKEFLAGS CMAKE="$(CMAKE)" JOBS="$(JOBS)" tools/build.sh $(BUILD)/$(1) $(2)
tests = $(PYTHON) tools/run_tests.py
attn  = $(BUILD)/release/attn
# They start first, so that none runs alone at the end.
long_tests = consumer,test_grid,cli_grad_test,test_grad_grid,test_gallery,checks,test_norm_grid

.PHONY: all run test long bench bench-compare bench-kernels performance peers install sanitize asan tsan memcheck fuzz qemu format tidy clean release pages

all: release
	@echo "$(attn) is ready; try: make run, or $(attn) help"

release:
	@$(setup) run
	@$(call build,release,-DCMAKE_INSTALL_PREFIX=$(PREFIX))

run: release
	@$(attn) demo

bench: release
	@$(attn) bench

# A private environment with what pip can get, and the library that bench/compare.py calls.
peers: release
	@$(CMAKE) --build $(BUILD)/release --target attn_compare > $(BUILD)/release/compare.log || \
	    { tail -n 30 $(BUILD)/release/compare.log; exit 1; }
	@bench/environment.sh $(BUILD)/peers

bench-compare: peers
	@$(BUILD)/peers/bin/python bench/compare.py --build $(BUILD)/release $(SUITES)

bench-kernels: release
	@$(CMAKE) --build $(BUILD)/release --target attn_kernels > $(BUILD)/release/kernels.log || \
	    { tail -n 30 $(BUILD)/release/kernels.log; exit 1; }
	@$(BUILD)/release/attn_kernels

performance: peers
	@$(PYTHON) tools/make_performance.py --build $(BUILD)/release \
	    --python $(BUILD)/peers/bin/python --measure $(PARTS)

install: release
	@$(CMAKE) --install $(BUILD)/release

# clang warns without its optimiser; make sanitize runs what it makes with it.
test:
	@$(setup) test
	@$(call build,release,-DCMAKE_INSTALL_PREFIX=$(PREFIX))
	@$(call build,clang,-DCMAKE_C_COMPILER=clang-14 -DATTN_WERROR=ON -DCMAKE_BUILD_TYPE=Debug)
	@$(call build,test,-DCMAKE_C_COMPILER=gcc -DATTN_WERROR=ON -DATTN_TESTS=ON)
	@$(tests) --jobs 2 --list $(BUILD)/test/tests.list --first $(long_tests) \
	    --run checks "$(PYTHON) tools/check_all.py $(BUILD)/release" \
	    --run consumer "tests/consumer/run.sh $(BUILD)/release $(BUILD)/consumer"

long:
	@$(setup) test
	@$(call build,test,-DCMAKE_C_COMPILER=gcc -DATTN_WERROR=ON -DATTN_TESTS=ON)
	@ATTN_LONG=1 $(tests) --list $(BUILD)/test/tests.list --timeout 36000

sanitize: asan tsan memcheck

asan:
	@$(setup) sanitize
	@$(call build,asan,-DCMAKE_C_COMPILER=clang-14 -DATTN_TESTS=ON "-DATTN_SANITIZE=address;undefined")
	@tools/run_sanitize.sh $(BUILD) asan

tsan:
	@$(setup) sanitize
	@$(call build,tsan,-DCMAKE_C_COMPILER=clang-14 -DATTN_TESTS=ON "-DATTN_SANITIZE=thread")
	@tools/run_sanitize.sh $(BUILD) tsan

memcheck:
	@$(setup) sanitize
	@$(call build,test,-DCMAKE_C_COMPILER=gcc -DATTN_WERROR=ON -DATTN_TESTS=ON)
	@tools/run_sanitize.sh $(BUILD) memcheck $(SHARE)

fuzz:
	@$(setup) fuzz
	@$(call build,fuzz,-DCMAKE_C_COMPILER=clang-14 "-DATTN_SANITIZE=address;undefined;fuzzer")
	@tools/run_fuzz.sh $(BUILD)/fuzz $(SECONDS)

qemu:
	@$(setup) qemu
	@tools/fetch_cmocka_arm64.sh $(BUILD)/arm64-root
	@$(call build,arm64,--toolchain cmake/toolchains/aarch64-linux-gnu.cmake \
	    -DATTN_ARM64_ROOT=$(abspath $(BUILD)/arm64-root) -DATTN_WERROR=ON -DATTN_TESTS=ON)
	@$(call build,test,-DCMAKE_C_COMPILER=gcc -DATTN_WERROR=ON -DATTN_TESTS=ON)
	@tools/run_qemu.sh $(BUILD) $(SHARE)

# Recorded values come from the oracles, and the command that draws the pages holds them.
pages:
	@$(setup) test
	@$(call build,test,-DCMAKE_C_COMPILER=gcc -DATTN_WERROR=ON -DATTN_TESTS=ON)
	@ATTN_RECORD=cli/verify_recorded.def $(BUILD)/test/tests/test_gallery_values >/dev/null
	@$(call build,release,-DCMAKE_INSTALL_PREFIX=$(PREFIX))
	@$(PYTHON) tools/make_pages.py $(attn) $(COSTS)

format:
	@$(setup) format
	@tools/check_format.sh -i

tidy:
	@$(setup) tidy
	@$(call build,test,-DCMAKE_C_COMPILER=gcc -DATTN_WERROR=ON -DATTN_TESTS=ON)
	@$(PYTHON) tools/run_tidy.py $(BUILD)/test

clean:
	@$(CMAKE) -E rm -rf $(BUILD)
