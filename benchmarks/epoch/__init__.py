"""The time of a training's epoch, from some of its steps on made images: ``python -m benchmarks.epoch``."""
