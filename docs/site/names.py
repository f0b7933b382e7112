"""Finds what a name in a docstring means, as the module that the docstring stands in would find it.

Sphinx looks for any object whose name ends so, and several do: each package has its errors, and most records a name.
"""

import builtins
import sys

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

__all__ = ["qualified", "setup"]


def _home(owner: type, name: str) -> type | None:
    """The class among ``owner`` and its bases that has the attribute, or the field without a value."""
    return next((base for base in owner.__mro__ if name in vars(base) or name in vars(base).get("__annotations__", {})),
                None)


def qualified(target: str, module: str | None, owner: str | None) -> str | None:
    """Return the full name of ``target`` in the docstring of ``owner``, an object of ``module``.

    Returns None for what Python itself has.
    """
    scope = sys.modules.get(module or "")
    first, _, rest = target.partition(".")
    cls = getattr(scope, (owner or "").partition(".")[0], None)
    if isinstance(cls, type) and not rest and (home := _home(cls, first)) is not None:
        return f"{home.__module__}.{home.__qualname__}.{first}"
    # A docstring may be that of a base in another module.
    bases = cls.__mro__ if isinstance(cls, type) else ()
    for place in (scope, *(sys.modules.get(base.__module__) for base in bases)):
        found = getattr(place, first, None)
        if found is not None and hasattr(found, "__qualname__") and hasattr(found, "__module__"):
            return ".".join(filter(None, (found.__module__, found.__qualname__, rest)))
        if found is not None and place is not None:
            return f"{place.__name__}.{target}"
    return None if hasattr(builtins, first) else target


def _resolve(application: Sphinx, document: nodes.document) -> None:
    for node in list(document.findall(pending_xref)):
        if node.get("refdomain") != "py":
            continue
        name = qualified(node["reftarget"], node.get("py:module"), node.get("py:class"))
        if name is None:
            node.replace_self(node.children)
        else:
            node["reftarget"] = name
            # Whatever its value, it asks for any object whose name ends so.
            node.attributes.pop("refspecific", None)


def setup(application: Sphinx) -> dict[str, bool]:
    """Let Sphinx resolve each page's names when it has read the page."""
    application.connect("doctree-read", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
