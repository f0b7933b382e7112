"""Results of builds, as files: the one definition of the keys of reports, for who writes and who reads them.

``build`` has what every bitstream has, ``network`` what a network in the bitstream adds and ``planned`` what is known
of that before any tool runs; ``overlay`` has what the overlay adds, and ``prebuilt`` reads the reports of overlays that
ship. ``folder`` is the folder that a report lies in, beside its bitstream.
"""
