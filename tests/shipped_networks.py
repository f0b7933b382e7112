"""The networks that ship, by the first circuit of the iCEBreaker that bears them."""

import models
from arch import network_file
from boards import BOARDS
from gateware.mapper.choice import first_limit

__all__ = ["BAKED", "STREAMED"]

#: Files of networks whose weights fit the bitstream, and of those that need the flash.
BAKED = [path for path in models.networks() if first_limit(network_file.load(path), BOARDS["icebreaker"]) is None]
STREAMED = [path for path in models.networks() if path not in BAKED]
