"""Benchmarks of the built-in proxy, always against something else in the same run."""
