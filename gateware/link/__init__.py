"""The accelerator's end of the host link: bytes on a serial line become images, results become bytes.

The protocol is :mod:`arch.link`, which the host program uses too. From the pins inwards:

* :mod:`gateware.link.uart`: one character at a time, :class:`gateware.link.uart.UartReceiver` and
  :class:`gateware.link.uart.UartTransmitter`.
* :mod:`gateware.link.crc`: the CRC of a frame, bit by bit as the line brings it.
* :mod:`gateware.link.counters`: the faults of the line, counted.
* :mod:`gateware.link.frame`: what receiver and transmitter share, the fields of a frame and the places of tags.
* :mod:`gateware.link.receiver`: finds frames, checks them, and hands pixels to the accelerator.
* :mod:`gateware.link.transmitter`: makes frames of results and of other replies.
* :mod:`gateware.link.host_link`: joins the two with the memory of the info block; the only block of the folder that
  :mod:`gateware.system` knows.
"""
