"""Measures hybridws beside other servers, each alone on one core; `python -m benchmarks --help` says more."""
