"""Benchmarks of the whole way from a node's notice to Redis: `python -m benchmarks --help`. What they found is in docs/benchmarks.md."""
