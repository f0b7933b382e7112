"""Names of layers and blocks, as all sections write them."""

__all__ = ["BLOCKS", "OTHER", "WHOLE_BLOCKS", "block_name", "layer_name"]

#: What the blocks are called on the page, by the path of the block in the design.
BLOCKS = {
    "accelerator.array": "neuron array", "accelerator.pif": "PIF neurons", "accelerator.windows": "window writer",
    "accelerator.image": "image writer",
    "accelerator.sequencer": "sequencer", "accelerator.readout": "readout", "accelerator.collector": "spike collector",
    "accelerator.spikes": "spike memory", "accelerator.fifo": "pixel FIFO", "accelerator.weights": "weight memory",
    "accelerator.constants": "constant memory", "accelerator.ring": "weight ring",
    "accelerator.partial": "partial sums", "accelerator.membranes": "membrane store",
    "accelerator.program": "layer program", "accelerator.entry": "layer program",
    "link.receiver": "frame receiver", "link.transmitter": "frame transmitter", "link.info": "info memory",
}
#: The same, for blocks of which all parts are one.
WHOLE_BLOCKS = {"loader": "model loader", "reader": "flash reader", "selector": "model selector"}

#: Cells between the blocks of the circuit, as on the way to a memory that several blocks use.
OTHER = "between the blocks"

#: What is called by itself only where its blocks are not told apart.
_JOINED = {"accelerator": OTHER, "link": "host link"}


def block_name(path: str) -> str:
    """Return the name of the block at ``path`` in the design; the path itself of one that has none."""
    return BLOCKS.get(path) or WHOLE_BLOCKS.get(path) or _JOINED.get(path) or path


def layer_name(index: int, kind: str) -> str:
    """Return the name of a layer by its index in the network and its kind."""
    return f"layer {index}, {kind.replace('-', ' ')}"
