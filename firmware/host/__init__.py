"""The host program: images to a board, results back. ``python -m firmware.host``.

:mod:`firmware.host.command` is the command, :mod:`firmware.host.link` speaks the protocol of :mod:`arch.link`,
:mod:`firmware.host.transports` are the lines it speaks over, and :mod:`firmware.host.latency` is what USB costs.
"""
