"""Benchmarks, and what they share; :mod:`eval_ext.tasks.catalogue` has every name."""
