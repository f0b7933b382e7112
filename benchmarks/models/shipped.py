"""What the file of a network that ships says, and what the iCEBreaker makes of it."""

import dataclasses
import pathlib
import shlex
from collections.abc import Mapping
from typing import Any

from arch import network_file
from arch.network import Network, OrPool, projection_of
from benchmarks.notation import notation
from benchmarks.training_command import training_command
from gateware.check.answer import Bears, CircuitCheck
from gateware.check.checking import check
from support.errors import InputError
from train.catalogue import shipped_recipes
from train.recipe import load_recipe

__all__ = ["BOARD", "BOARD_TITLE", "Shipped", "read_shipped"]

#: Board of the tables, as the command line and as people name it.
BOARD, BOARD_TITLE = "icebreaker", "iCEBreaker"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """A network that ships: a row of the tables."""

    name: str
    #: Data set, as recipes name it.
    dataset: str
    #: Layers, as of :func:`benchmarks.notation.notation`.
    layers: str
    #: Number of weights, and whether they are ternary or binary.
    weights: int
    weights_kind: str
    timesteps: int
    #: Size of the file.
    file_bytes: int
    #: Share of right classes, and of how many test images, of the exported integers.
    accuracy: float
    images: int
    #: Whether each spike is certified to be that of the trained network.
    exact: bool | None
    #: ``baked`` or ``flash``, as ``--weights`` names the circuit, and the clocks of an inference on it.
    circuit: str
    clocks: int
    clock_mhz: float
    #: Commands that train it, in their order: of the networks that it starts from or learns from, and its own; none
    #: if no shipped recipe trained it.
    trainings: tuple[str, ...]

    @property
    def milliseconds(self) -> float:
        """Time of an inference: clocks by the clock, without the link to the host."""
        return self.clocks / (1e3 * self.clock_mhz)


def read_shipped(path: pathlib.Path) -> Shipped:
    """Return the row of the network in ``path``.

    Raises
    ------
    :exc:`InputError`
        If the file lacks its accuracy on the test images or where it was trained, or no circuit of the board bears it.
    """
    network = network_file.load(path)
    metadata = network.metadata
    training = metadata.get("training")
    if not isinstance(training, dict) or not isinstance(training.get("recipe"), dict):
        raise InputError(f"{path}: a network that ships must say by which recipe it was trained: export its checkpoint")
    if metadata.get("accuracy") is None or metadata.get("accuracy_images") is None:
        raise InputError(f"{path}: a network that ships must say its accuracy: export it with --test-images and "
                         f"--test-labels")
    circuit = _circuit(path, network)
    return Shipped(
        name=network_file.name_of(network, path), dataset=str(training.get("dataset")),
        layers=notation(training["recipe"]["architecture"]), weights=network.weight_count,
        weights_kind=_weights_kind(network), timesteps=network.timesteps, file_bytes=path.stat().st_size,
        accuracy=metadata["accuracy"], images=metadata["accuracy_images"], exact=metadata.get("exact"),
        circuit=circuit.name, clocks=circuit.clocks, clock_mhz=circuit.clock_mhz,
        trainings=_trainings(training["recipe"]))


def _circuit(path: pathlib.Path, network: Network) -> CircuitCheck:
    """Return the first circuit of the board that bears the network."""
    circuits = check(network, BOARD, remedies=False).plan.circuits.values()
    found = next((circuit for circuit in circuits if circuit.bears is Bears.YES), None)
    if found is None:
        raise InputError(f"{path}: a network that ships must fit a circuit of the {BOARD_TITLE}: python -m export "
                         f"{shlex.quote(str(path))} --flash IMAGE --dry-run names the limits")
    return found


def _weights_kind(network: Network) -> str:
    weights = [layer.weights for layer in network.layers if not isinstance(layer, OrPool)]
    weights += [projection.weights for layer in network.layers if (projection := projection_of(layer)) is not None
                and not projection.diagonal]
    return "ternary" if any((values == 0).any() for values in weights) else "binary"


def _trainings(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the commands of the trainings before that of the recipe and of its own, if it ships."""
    if recipe.get("name") not in shipped_recipes():
        return ()
    before = (command for name in load_recipe(recipe["name"]).needs
              for command in _trainings(load_recipe(name).to_json()))
    return tuple(dict.fromkeys((*before, training_command(recipe["name"], recipe["epochs"]))))
