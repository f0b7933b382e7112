"""Images of a data set as files for the commands that take images: ``python -m train.images``.

``command`` reads the command line; ``idx`` makes the files' content.
"""
