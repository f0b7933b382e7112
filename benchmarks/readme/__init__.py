"""Refreshes the figures of ``README.md`` from build reports."""
