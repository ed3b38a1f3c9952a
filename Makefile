# The project's commands. Each needs Python 3.11 or newer and sets up what else it needs; a second run is quick.
# More for the program: make demo ARGS="--port 8081", make test ARGS="tests/core -x"

.PHONY: help demo test test-ways test-compiled test-all check js fmt simulate mutants mutmut coverage guards fuzz torture endurance slowhttp autobahn bench profile bench-networks

help:      ## Say what can be made
	@sed -n 's/^\([a-z-]*\): *##/make \1\t/p' Makefile

demo:      ## Start the demo on http://127.0.0.1:8080 (no Node needed)
	@tools/venv demo && exec .venv/bin/hybridws demo $(ARGS)

test:      ## Run the tests; of large tables a sample, by a seed that the log names
	@tools/setup test && tools/test $(ARGS)
	@[ -n "$(ARGS)" ] || tools/test-ways

test-ways: ## Run the tests of the server with the fallback forced, and under our own runner
	@tools/setup test && tools/test-ways $(ARGS)

# The tests of what is compiled. Left out are a long one that the compiler changes nothing of (test_never), and those that
# change a constant of ours, which the compiler has written into the code (nobody_wants).
COMPILED = tests/core tests/endpoints tests/conformance tests/run $(patsubst %,tests/test_%.py,agenda aiohttp framed gate limits plain_handler server session slow)
test-compiled: ## Compile what messages and requests walk through, and run the tests of that
	@tools/setup test && tools/compiled -q -k "not (test_never or nobody_wants)" $(COMPILED) $(ARGS)

test-all:  ## Run the tests, with all of every large table
	@tools/setup test && HYBRIDWS_TEST_ALL=1 tools/test $(ARGS)

check:     ## Check format, style, types and floors
	@tools/setup check && tools/check

js:        ## Check, test and build the JavaScript client in static/
	@tools/setup check && PYTHON=$(CURDIR)/.venv/bin/python tools/js $(ARGS)

fmt:       ## Format the code and mend what can be mended
	@tools/venv test && .venv/bin/ruff check --fix-only . && .venv/bin/ruff format .

simulate:  ## Try 10,000 random lives of two links on a hostile network, and 500 on real sockets
	@tools/setup test && HYBRIDWS_EXAMPLES=10000 tools/test -m simulation tests/core/test_link_machine.py $(ARGS)
	@HYBRIDWS_EXAMPLES=500 tools/test -m simulation tests/endpoints/test_native_machine.py $(ARGS)

mutants:   ## Show that the simulation finds faults that were planted in the core
	@tools/setup test && tools/mutants $(ARGS)

mutmut:    ## Change the core in small ways, and find what no test of it notices; ARGS="link outbox" names files, all take long
	@tools/setup test && tools/mutmut $(ARGS)

coverage:  ## Measure which branches of the core its tests reach (100 %); ARGS=all measures the package by all tests but the live ones
	@tools/setup test && tools/coverage $(ARGS)

guards:    ## Show that for each guard against a known attack there is a test that fails without it
	@tools/setup test && tools/guards $(ARGS)

fuzz:      ## Fuzz every decoder, a minute each (HYBRIDWS_SECONDS)
	@tools/setup test && tools/fuzz $(ARGS)

torture:   ## Hold the trials of hybridws torture at full length against a server of our own (some 20 minutes)
	@tools/setup test && tools/torture $(ARGS)

endurance: ## Hold a server under 1,000 clients: a fault each per 30 s for an hour, stalled ones, a cut of all at once
	@tools/setup test && .venv/bin/python -m tools.endurance $(ARGS)

slowhttp:  ## Let slowhttptest hold 500 connections by slow heads, bodies and reading (4 minutes)
	@tools/setup test && tools/slowhttp $(ARGS)

autobahn:  ## Run the public Autobahn suite against a raw WebSocket, where a Python 2.7 can be found
	@tools/setup test && tools/autobahn $(ARGS)

bench:     ## Measure the server beside others; ARGS="--only ws-echo-1 --rounds 3" measures less
	@tools/venv test && .venv/bin/python -m benchmarks $(ARGS)

profile:   ## Show in which room of the house the time of one message goes
	@tools/venv test && .venv/bin/python -m benchmarks.profile $(ARGS)

bench-networks: ## Measure what clients reach on hostile networks
	@tools/venv test && .venv/bin/python benchmarks/networks.py $(ARGS)
