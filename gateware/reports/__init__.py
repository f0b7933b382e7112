"""Reports of bitstreams, as files: the one definition of their keys, for who writes and who reads them.

``build`` has what every bitstream has, ``overlay`` what the overlay adds; ``prebuilt`` reads the reports of overlays
that ship. What a network in the bitstream adds is in :mod:`gateware.build.report`, which only the flow needs.
"""
