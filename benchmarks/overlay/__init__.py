"""Renews the report of the overlay that ships, and what ``docs/overlay.md`` shows of it."""
