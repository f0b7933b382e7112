"""Files of :mod:`arch.container` that somebody altered who knows how to compute the hashes."""

import hashlib
import json

__all__ = ["drop", "edited", "join", "parts", "put", "set_byte", "set_long"]


def parts(content):
    """Header as an object, and data, of the file with this content."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8:8 + length]), content[8 + length:]


def join(header, data, *, rehash=True):
    """A file of ``header`` and ``data``, with the hashes that its author would have put in."""
    header = json.loads(json.dumps(header))
    metadata = header.get("__metadata__")
    if rehash and isinstance(metadata, dict):
        if isinstance(metadata.get("network"), str):
            metadata["content_sha256"] = hashlib.sha256(metadata["network"].encode() + b"\0" + data).hexdigest()
        if isinstance(metadata.get("metadata"), str):
            metadata["metadata_sha256"] = hashlib.sha256(metadata["metadata"].encode()).hexdigest()
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def edited(content, **changes):
    """A file whose ``header``, ``data``, ``layer`` list or ``network`` went through changes, each a function."""
    header, data = parts(content)
    network = json.loads(header["__metadata__"]["network"])
    for key, change in changes.items():
        if key == "data":
            data = change(data)
        else:
            change({"header": header, "layer": network["layers"], "network": network}[key])
    header["__metadata__"]["network"] = json.dumps(network, sort_keys=True, separators=(",", ":"))
    return join(header, data)


def put(key, value, *path):
    """Change that puts ``value`` at ``key`` of what ``path`` leads to."""
    def change(target):
        for step in path:
            target = target[step]
        target[key] = value
    return change


def drop(key, *path):
    """Change that takes ``key`` out of what ``path`` leads to."""
    def change(target):
        for step in path:
            target = target[step]
        del target[key]
    return change


def set_byte(offset, value):
    """Change of one byte of the data."""
    return lambda data: data[:offset] + bytes([value]) + data[offset + 1:]


def set_long(offset, value):
    """Change of 8 bytes of the data: a signed little-endian integer."""
    return lambda data: data[:offset] + value.to_bytes(8, "little", signed=True) + data[offset + 8:]
