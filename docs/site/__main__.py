"""``python -m docs.site``."""

from support.start import start

if __name__ == "__main__":
    start("docs.site.command")
