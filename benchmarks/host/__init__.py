"""What the host program costs beside the line, on a model of the line: ``python -m benchmarks.host``."""
