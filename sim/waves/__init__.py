"""Waveforms: what the signals of a simulated circuit do while it computes one image, and a view of those that matter.

docs/waveforms.md explains the view.
"""
