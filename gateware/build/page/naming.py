"""Names of layers, as all sections write them."""

__all__ = ["layer_name"]


def layer_name(index: int, kind: str) -> str:
    """Return the name of a layer by its index in the network and its kind."""
    return f"layer {index}, {kind.replace('-', ' ')}"
