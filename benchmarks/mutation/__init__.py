"""The mutation score: how many small faults that are put into the sources the tests find.

A mutant (:mod:`benchmarks.mutation.mutants`) is the source of a module with one small fault
(:mod:`benchmarks.mutation.kinds`). It is killed if a test fails with it, and survives if none does. The nearest tests
come first (:mod:`benchmarks.mutation.nearest`). ``python -m benchmarks.mutation`` runs a sample
(:mod:`benchmarks.mutation.sample`) and can be interrupted at any time: results are kept
(:mod:`benchmarks.mutation.results`), and the next call goes on.
"""
