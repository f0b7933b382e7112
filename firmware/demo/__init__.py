"""The live demonstration: a page in the browser, a board, and the reference beside it. ``python -m firmware.demo``.

:mod:`firmware.demo.command` is the command. :mod:`firmware.demo.server` serves the page of the folder ``page/`` and
answers its requests; :mod:`firmware.demo.inputs` reads what the page sends, and :mod:`firmware.demo.drawing` makes an
image like those of MNIST of a drawing. :mod:`firmware.demo.board` has the board, :mod:`firmware.demo.networks` the
files of its networks, and :mod:`firmware.demo.answers` says what the page is told of both.
"""
