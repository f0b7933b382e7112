"""Makes the documentation as a site, from the pages of the repository and the docstrings: ``python -m docs.site``."""
