"""A stand-in for :class:`support.progress.Progress` that remembers instead of showing."""

__all__ = ["make_log"]


def make_log():
    """Return a class to use in the place of ``Progress``, and the list of steps and texts that it remembers."""
    told = []

    class Log:
        def __init__(self, step, **options):
            self._step = step

        def __enter__(self):
            told.append(self._step)
            return self

        def __exit__(self, *reason):
            return None

        def update(self, text):
            told.append(text)

    return Log, told
