"""Reads a NIR file into a network that the export certifies, by what options, a package's preset and the file say."""

import dataclasses
import pathlib
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from arch.network import Encoding
from export.sources.chain import Chain, SourceError, SpikingNeurons
from export.sources.nir import sidecar
from export.sources.nir.file import Graph
from export.sources.nir.graph import chain_of
from export.sources.nir.loading import load
from export.sources.nir.sidecar import Facts
from export.sources.rational import RationalNetwork
from export.sources.rules import PRESETS, Rule, resolve
from export.sources.translation import Frame, translate
from support.errors import printable

__all__ = ["Source", "import_nir", "network_of", "read_nir", "source_of"]


def _frame(facts: Facts) -> Frame:
    missing = [text for value, text in ((facts.timesteps, "--timesteps T"),
                                        (facts.encoding, "--encoding pixels or events")) if value is None]
    if facts.encoding is not Encoding.EVENTS and facts.scale is None:
        missing.append("--scale K (what a pixel p of 0 to 255 is multiplied with: 1/255 if images were 0 to 1)")
    if missing:
        raise SourceError(f"input must be described, as NIR does not: give {', '.join(missing)}")
    assert facts.timesteps is not None
    assert facts.encoding is not None
    if facts.encoding is Encoding.EVENTS:
        for value, option in ((facts.scale, "--scale"), (facts.zero_point, "--zero-point")):
            if value not in (None, 1 if option == "--scale" else 0):
                raise SourceError(f"{option} must be left out for events, which are 0 and 1")
        return Frame(timesteps=facts.timesteps, encoding=facts.encoding, currents=facts.currents)
    assert facts.scale is not None
    return Frame(timesteps=facts.timesteps, encoding=facts.encoding, scale=facts.scale,
                 zero_point=facts.zero_point or 0, currents=facts.currents)


def _with_membranes(chain: Chain, initial: Mapping[str, tuple[Fraction, ...]]) -> Chain:
    """Give neurons the first membranes that a side-car states by their names."""
    known = [node.name for node in chain.nodes if isinstance(node, SpikingNeurons)]
    stray = sorted(set(initial) - set(known))
    if stray:
        raise SourceError(f"metadata {sidecar.KEY}: initial must name nodes of neurons ({', '.join(known)}), not "
                          f"{printable(stray[0])}")
    return dataclasses.replace(chain, nodes=tuple(
        dataclasses.replace(node, initial=initial[node.name])
        if isinstance(node, SpikingNeurons) and node.name in initial else node for node in chain.nodes))


def _provenance(path: str, rule: Rule, facts: Facts) -> dict[str, Any]:
    origin = "as stated" if rule.package is None else f"of {PRESETS[rule.package].title}"
    return {"source": "nir", "file": pathlib.Path(path).name, "rule": f"{origin}: {rule}",
            "stated": dataclasses.replace(facts, initial=None).as_json()}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A network of another package, with everything that decides what it computes."""

    chain: Chain
    rule: Rule
    frame: Frame
    #: What a network that is made of it says about its making.
    provenance: Mapping[str, Any]


def source_of(graph: Graph, name: str, stated: Facts) -> Source:
    """Understand the graph that the file ``name`` has, by what is ``stated``; what is not is taken from its side-car.

    Raises
    ------
    :exc:`SourceError`
        If something must be stated, or a node has no place in a network.
    """
    facts = stated.over(sidecar.parse(graph.metadata))
    rule = resolve(package=facts.package, stated={"comparison": facts.comparison, "reset": facts.reset,
                                                  "several": facts.several, "dt": facts.dt})
    frame = _frame(facts)
    chain = _with_membranes(chain_of(graph, rule, facts.shape), facts.initial or {})
    return Source(chain=chain, rule=rule, frame=frame, provenance=_provenance(name, rule, facts))


def network_of(source: Source) -> RationalNetwork:
    """Make a network that can be certified; raises :exc:`SourceError` if a number has no exact place in one."""
    return translate(source.chain, source.rule, source.frame, source.provenance)


def read_nir(path: str, stated: Facts) -> Source:
    """Read the NIR file ``path`` as of :func:`source_of`.

    Raises
    ------
    :exc:`SourceError`
        If the file cannot be read, or as of :func:`source_of`; one line that begins with the path.
    :exc:`OSError`
        If the file cannot be read.
    """
    graph = load(path)
    try:
        return source_of(graph, path, stated)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None


def import_nir(path: str, stated: Facts) -> RationalNetwork:
    """Read the NIR file ``path`` as of :func:`read_nir`, into a network that can be certified.

    Raises
    ------
    :exc:`SourceError`
        As of :func:`read_nir` and :func:`network_of`.
    :exc:`OSError`
        If the file cannot be read.
    """
    source = read_nir(path, stated)
    try:
        return network_of(source)
    except SourceError as error:
        raise SourceError(f"{path}: {error}") from None
