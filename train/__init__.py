"""Training of ternary spiking networks in PyTorch: ``python -m train --recipe mnist-conv --data DIR``.

Layers a user composes into a network (:mod:`train.layers`, :mod:`train.network`), the evaluation that export and
hardware reproduce bit for bit (:mod:`train.exact`), data sets, recipes and the training loop.
"""
