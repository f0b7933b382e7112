"""What the neurons do: how often they spike, their membranes and thresholds."""

from gateware.build.page.activity import EDGES
from gateware.build.page.figures import draw_membranes, draw_rates, draw_thresholds
from gateware.build.page.levels import Level
from gateware.build.page.naming import layer_name
from gateware.build.page.parts import Column, Figure, Missing, Part, Section, Table, count, share
from gateware.build.page.subject import Subject
from gateware.reports.network import Report

__all__ = ["section"]

_LEAD = ("The circuit takes the same time however many neurons spike. How many do decides what an accelerator could "
         "save that skips silent ones, and what the circuit takes of energy.")


def section(subject: Subject) -> Section | None:
    """Say how often neurons spike; nothing of the overlay, which has no network of its own."""
    if not isinstance(subject.report, Report):
        return None
    found = subject.activity
    if found is None:
        missing = (Missing(what="The file of the network is not at hand.",
                           command="python -m gateware.build.page BUILD --network FILE") if subject.network is None else
                   Missing(what="No samples of the network's data set ship, so nothing was computed."))
        return Section(name="activity", title="Activity", lead=_LEAD, parts=[missing])
    parts: list[Part] = [Table(
        caption=f"Activity on {found.images} samples of {found.dataset}", columns=[
            Column(title="layer"), Column(title="neurons", level=Level.SET),
            Column(title="firing rate", level=Level.COMPUTED, hint="spikes of a neuron in a timestep, on average"),
            Column(title="silent neurons", level=Level.COMPUTED, hint="that spike in none of the images"),
            Column(title="weights that are zero", level=Level.COMPUTED)],
        rows=[[layer_name(layer.index, layer.kind), count(layer.neurons), share(layer.rate, 2, bar=True),
               share(layer.silent), share(layer.zero_weights)] for layer in found.layers])]
    if found.layers:
        named = [(layer_name(layer.index, layer.kind), layer) for layer in found.layers]
        parts += [
            Figure(name="rates", title="Firing rate in each timestep", level=Level.COMPUTED,
                   description="One bar for each timestep, the first one above: " + "; ".join(
                       f"{name} {', '.join(f'{one:.1%}' for one in layer.rate_of_steps)}"
                       for name, layer in named) + ".",
                   svg=draw_rates([(name, layer.rate_of_steps) for name, layer in named])),
            Figure(name="membranes", title="Membranes when they are compared", level=Level.COMPUTED,
                   description="How often a membrane has which height, in thresholds of its neuron; what is at 1 or "
                               "above spikes and is drawn in colour. What is beyond the ends counts there.",
                   svg=draw_membranes([(name, layer.membranes) for name, layer in named], EDGES)),
            Figure(name="thresholds", title="Thresholds of the channels", level=Level.COMPUTED,
                   description="One mark for each channel; in the layer that sees pixels, a pixel of full brightness "
                               "counts 255.",
                   svg=draw_thresholds([(name, layer.thresholds) for name, layer in named]))]
    return Section(name="activity", title="Activity", lead=_LEAD, parts=parts)
