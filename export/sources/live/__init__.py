"""Networks of other packages that are in memory, as modules of PyTorch, which this package never imports."""
