"""The sections of the page, in their order: a module each, with a function ``section``.

It takes a :class:`gateware.build.page.subject.Subject` and returns a :class:`gateware.build.page.parts.Section`, or
None for a build that it has nothing to say of. A new section is a new module and its line here: its parts are laid out,
embedded for programs and compared between builds as those of the others.
"""

from collections.abc import Callable

from gateware.build.page.parts import Section
from gateware.build.page.sections import (
    accuracy,
    activity,
    certificate,
    circuit,
    energy,
    floorplan,
    layers,
    provenance,
    reproduce,
    resources,
    speed,
    timing,
    verdict,
)
from gateware.build.page.subject import Subject

__all__ = ["SECTIONS", "sections_of"]

#: What makes the sections.
SECTIONS: tuple[Callable[[Subject], Section | None], ...] = (
    verdict.section, speed.section, accuracy.section, certificate.section, resources.section, timing.section,
    floorplan.section, layers.section, activity.section, energy.section, circuit.section, provenance.section,
    reproduce.section)


def sections_of(subject: Subject) -> list[Section]:
    """Return the sections that say something of a build."""
    return [section for make in SECTIONS if (section := make(subject)) is not None]
