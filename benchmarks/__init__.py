"""Benchmarks for asv, both twins of each hot path side by side."""
