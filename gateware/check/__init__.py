"""Whether a network can be deployed on a board: :func:`gateware.check.checking.check`, before anything is built."""
