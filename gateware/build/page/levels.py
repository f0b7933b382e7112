"""Levels of evidence: how a number is known."""

import enum

__all__ = ["Level"]


class Level(enum.Enum):
    """How a number is known: the word beside it, and what that means."""

    PROVEN = "proven", "Holds for every input: a certificate computed in exact arithmetic says so."
    RTL = "RTL", "Simulated on the circuit before synthesis, and equal to the reference."
    NETLIST = "netlist", "Simulated on the netlist that synthesis has made, and equal to the reference."
    BITSTREAM = "bitstream", "Simulated on the bitstream, turned back into a circuit, and equal to the reference."
    ROUTED = "routed", ("Reported by place and route of the finished layout; times are those of its static timing "
                        "analysis.")
    COMPUTED = "computed", ("Computed exactly, from the network, the circuit and the clock, or by the bit-exact "
                            "reference in software.")
    ESTIMATED = "estimated", "Estimated by a model; the true value will differ."
    BOARD = "board", "Measured on a board."
    TIMED = "timed", "Wall-clock time on the computer that made the build; another computer takes another time."
    SET = "set", "Chosen: by the command, by the board or by the shape of the circuit or the network."

    def __init__(self, word: str, meaning: str):
        #: The word beside a number.
        self.word = word
        #: What it means, as a sentence.
        self.meaning = meaning
