"""The flow from a network to a bitstream: ``python -m gateware.build``.

``command`` reads the command line and runs the steps in ``steps/`` one after the other: plan, synthesise, place, pack,
simulate. Each has a typed result that is kept in the build's folder (``folder``), so that an interrupted build goes on
where it stopped. ``report`` defines every key of ``report.json``, ``text`` prints it, and ``page`` shows it as HTML.
"""
