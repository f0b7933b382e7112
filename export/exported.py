"""From a trained network to an integer network with its certificate: the steps in order, and what they gave."""

import dataclasses
import logging
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from arch import network_file
from arch.certificate import certificate_of, few
from arch.network import Network, OrPool
from export import steps
from export.fit_cost import fit_metadata, unfitted
from export.fitting import Room
from export.folding import fold
from export.report import format_table
from export.sources.rational import Trained
from export.steps import LayerReport, Verification
from reference.generate import random_images
from support.files import check_output, write_atomically

__all__ = ["Exported", "export_trained", "integer_network", "report_of", "with_verification"]

logger = logging.getLogger("export")


def integer_network(checkpoint: Trained, max_fraction: int, room: Room | None,
                    metadata: dict[str, Any]) -> tuple[Network, list[LayerReport], Network | None]:
    """Ternarise, fold, certify, fit and size; log every step.

    If channels were moved to fit the ``room`` of a circuit, the third result is the network without that.
    """
    shares = steps.ternarise(checkpoint)
    logger.info("ternarise: %d layers of frozen codes", len(shares))
    folded = fold(checkpoint)
    logger.info("fold: %d channels negated, %d without inputs", sum(layer.negated for layer in folded),
                sum(layer.zeroed for layer in folded))
    certified = steps.certify(checkpoint, folded, max_fraction=max_fraction, room=room)
    for layer in certified:
        if layer.leaky:
            logger.info("certify: %s not certified (leaky)", layer.name)
        elif layer.exact is not None:
            logger.info("certify: %s %s", layer.name, "exact" if layer.exact else
                        f"NOT exact in {len(layer.inexact)} channels: {few(layer.inexact)}")
    trained = None
    if room is not None:
        metadata["fit"] = fit_metadata(room, certified)
        if metadata["fit"]["moved_channels"]:
            trained = unfitted(checkpoint, folded)
            logger.info("fit: %d channels moved to fit the %s", metadata["fit"]["moved_channels"], room.title)
    network = steps.assemble(checkpoint, certified, metadata)
    rows = steps.size(network, certified)
    logger.info("size: %d weights, widest membrane %d bits", network.weight_count,
                max((row.membrane_bits or 0 for row in rows), default=0))
    return network, rows, trained


def with_verification(rows: list[LayerReport], verification: Verification, *, measured: bool) -> list[LayerReport]:
    """Add to each row what ``verification`` found; firing rates only if they were ``measured`` on real images."""
    found = []
    for index, row in enumerate(rows):
        if index < len(verification.spikes):
            firing = verification.spikes[index] / verification.places[index]
            row = dataclasses.replace(
                row, firing=firing if measured else None,
                mismatches=None if row.kind == OrPool.kind else verification.mismatches[index],
                compared=None if row.kind == OrPool.kind else verification.compared[index])
        found.append(row)
    return found


def report_of(network: Network, rows: list[LayerReport], *, size: int, max_fraction: int, protected: bool,
              verified_images: int, verified_on: str, written: list[str]) -> dict[str, Any]:
    """Return the report of an export, JSON values only.

    ``size`` is that of the network's file, in bytes; ``written`` are the files that were written.
    """
    return {
        "network_sha256": network_file.digest(network), "bytes": size, "written": written,
        "metadata": dict(network.metadata), "certificate": str(certificate_of(network)), "max_fraction": max_fraction,
        "checkpoint_protected": protected, "layers": [dataclasses.asdict(row) for row in rows],
        "verified_images": verified_images, "verified_on": verified_on,
    }


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Exported:
    """A network that was exported, with what is known of it; printed, it is the table of ``python -m export``."""

    network: Network
    #: The report of ``python -m export --json``; :meth:`save` notes in it what was written.
    report: dict[str, Any]

    @property
    def exact(self) -> bool | None:
        """Whether no spike differs from real arithmetic for any input; None where leaky layers are not certified."""
        exact: bool | None = self.network.metadata["exact"]
        return exact

    def with_training(self, **facts: Any) -> "Exported":
        """Return it with ``facts`` in what the network says about its making; JSON values only."""
        metadata = dict(self.network.metadata)
        metadata["training"] = {**metadata["training"], **facts}
        network = dataclasses.replace(self.network, metadata=metadata)
        return dataclasses.replace(self, network=network, report={
            **self.report, "network_sha256": network_file.digest(network), "bytes": len(steps.pack(network)),
            "metadata": metadata})

    def __str__(self) -> str:
        return format_table(self.report, unwritten="nothing yet")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to ``path``, whole or not at all, and note that in :attr:`report`.

        Raises
        ------
        :exc:`support.errors.InputError`
            If ``path`` cannot be written to.
        :exc:`OSError`
            If writing fails.
        """
        check_output(path)
        write_atomically(path, steps.pack(self.network))
        self.report["written"] = [os.fspath(path)]


def export_trained(trained: Trained, metadata: dict[str, Any], *, max_fraction: int,
                   images: npt.NDArray[Any] | None = None) -> Exported:
    """Certify ``trained`` and verify it on ``images``, as of :func:`arch.images.load_images`; None takes noise.

    Raises
    ------
    :exc:`support.errors.InputError`
        If it cannot be exported.
    """
    network, rows, _ = integer_network(trained, max_fraction, None, metadata)
    measured = images is not None
    if images is None:
        images = random_images(network, np.random.default_rng(0), steps.noise_images(network))
    content = steps.pack(network)
    verification = steps.verify(trained, content, images)
    rows = with_verification(rows, verification, measured=measured)
    steps.check_verification(rows, verification)
    return Exported(network=network, report=report_of(
        network, rows, size=len(content), max_fraction=max_fraction, protected=trained.protected,
        verified_images=len(images), verified_on="images" if measured else "noise", written=[]))
