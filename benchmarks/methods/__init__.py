"""Finished trainings measured with their integers, and ``docs/benchmarks.md`` made of the measurements.

``python -m benchmarks.methods measure RUN`` (:mod:`benchmarks.methods.measure`) writes what it measures beside the
training, as :mod:`benchmarks.methods.measurement` describes; ``python -m benchmarks.methods table RUNS``
(:mod:`benchmarks.methods.page`) makes the page. Every number on it was measured so, but for what the papers report of
themselves, which is quoted.
"""
