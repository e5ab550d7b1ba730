"""Benchmarks: a folder of YAML each, and what they share."""
