"""What a page is about: the report of a build, and the evidence beside it."""

import dataclasses
import functools
import pathlib

import numpy as np

import models
from arch import network_file
from arch.images import samples_of
from arch.network import Network
from boards import BOARDS, Board
from gateware.build.energy.model import Estimate, estimate
from gateware.build.energy.resources import activity_of as toggles_of
from gateware.build.energy.resources import resources_of
from gateware.build.page.activity import Activity, activity_of
from gateware.build.page.answers import Answers, read_answers
from gateware.build.page.export_report import ExportReport, read_export_report
from gateware.build.page.floorplan import Floorplan, find_floorplan
from gateware.build.page.levels import Level
from gateware.reports.folder import REPORT
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from gateware.reports.reader import load_report
from support.errors import InputError, printable

__all__ = ["Evidence", "PageError", "Subject", "load_subject", "shipped_network", "subject_of"]


class PageError(InputError):
    """A page cannot be made of what was given."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Files beside the folder of a build; None is not given."""

    #: The network that was built in, as ``python -m export`` writes it.
    network: pathlib.Path | None = None
    #: What ``python -m sim --json`` has printed, and the images of that run.
    answers: pathlib.Path | None = None
    images: pathlib.Path | None = None
    #: What ``python -m export --json`` has printed.
    export: pathlib.Path | None = None
    #: The waveform of an image, as ``python -m sim --vcd`` writes it.
    waveform: pathlib.Path | None = None
    #: The report of a build of the same netlist with more seeds.
    margins: pathlib.Path | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A build, and what is known of it."""

    report: Report | OverlayReport
    #: The network that was built in, if it is at hand, and its file, as a command names it.
    network: Network | None = None
    network_path: str | None = None
    activity: Activity | None = None
    answers: Answers | None = None
    export: ExportReport | None = None
    #: What the FPGA takes from its supply.
    energy: Estimate | None = None
    floorplan: Floorplan | None = None
    #: The report whose seeds are told: that of the build, or of another with more of them.
    margins: Report | OverlayReport | None = None

    @property
    def board(self) -> Board | None:
        """The board; None for one that this version does not know."""
        return BOARDS.get(self.report.board)

    @property
    def board_title(self) -> str:
        """The board, for people."""
        return self.report.board if self.board is None else self.board.title

    @property
    def name(self) -> str:
        """What was built, for people."""
        return self.report.network if isinstance(self.report, Report) else "Overlay"

    @property
    def title(self) -> str:
        """What was built, and for what."""
        return f"{self.name} on {self.board_title}"

    @property
    def seeds(self) -> Report | OverlayReport:
        """The report whose seeds are told."""
        return self.report if self.margins is None else self.margins

    @functools.cached_property
    def network_word(self) -> str:
        """The network in a command."""
        return "NETWORK.safetensors" if self.network_path is None else self.network_path


def shipped_network(sha256: str) -> tuple[Network, str] | None:
    """Return the network that ships and has this digest, and its file; None if none has."""
    for path in models.networks():
        network = network_file.load(path)
        if network_file.digest(network) == sha256:
            return network, f"models/{path.name}"
    return None


def _network(report: Report, path: pathlib.Path | None) -> tuple[Network | None, str | None]:
    """Return the network of a report, and its file, if they are at hand."""
    if path is None:
        return shipped_network(report.network_sha256) or (None, None)
    network = network_file.load(path)
    if (found := network_file.digest(network)) != report.network_sha256:
        raise PageError(f"{path}: must be the network of the build, whose sha256 is {report.network_sha256[:16]}, not "
                        f"{found[:16]}: give the file that was built in")
    return network, str(path)


def _answers(network: Network | None, report: Report, evidence: Evidence, activity: Activity | None) -> Answers | None:
    """Return the answers that were given as a file, or those to the samples that ship."""
    if evidence.answers is None:
        samples = None if network is None else samples_of(network, models.SAMPLES)
        if activity is None or samples is None:
            return None
        shipped = report.sample_images == len(samples.images) and report.sample_dataset == samples.dataset
        # The circuit was compared with the reference on these images: their classes are those of both.
        return Answers(source=f"the {len(samples.images)} samples of {samples.dataset} that ship",
                       level=Level.RTL if shipped else Level.COMPUTED, classes=np.array(activity.classes),
                       labels=samples.labels, images=samples.images)
    return read_answers(evidence.answers, network_sha256=report.network_sha256, images=evidence.images,
                        network=network)


def _read(path: pathlib.Path) -> Report | OverlayReport:
    try:
        return load_report(path)
    except (FileNotFoundError, NotADirectoryError):
        raise PageError(f"{printable(str(path))}: must be the {REPORT} of a build, and is missing: give a folder "
                        f"that python -m gateware.build has written") from None


def _margins(report: Report | OverlayReport, path: pathlib.Path | None) -> Report | OverlayReport | None:
    """Return the report with more seeds, which must be of the same netlist."""
    if path is None:
        return None
    margins = _read(path)
    if report.netlist_sha256 is None or margins.netlist_sha256 != report.netlist_sha256:
        raise PageError(f"{printable(str(path))}: must be the report of a build of the same netlist, whose sha256 is "
                        f"{str(report.netlist_sha256)[:16]}, not {str(margins.netlist_sha256)[:16]}: build the same "
                        f"network at the same revision with --seeds N")
    return margins


def _energy(folder: pathlib.Path, report: Report | OverlayReport, waveform: pathlib.Path | None) -> Estimate | None:
    """Estimate what an image takes, by what toggles in its waveform."""
    if waveform is None:
        return None
    return estimate(resources_of(report, name=printable(str(folder / REPORT))), toggles_of(report, waveform))


def subject_of(folder: pathlib.Path, report: Report | OverlayReport, evidence: Evidence) -> Subject:
    """Gather what is known of a build whose report is at hand; errors are those of :func:`load_subject`."""
    margins, floorplan = _margins(report, evidence.margins), find_floorplan(folder, report)
    energy = _energy(folder, report, evidence.waveform)
    if not isinstance(report, Report):
        for option, given in (("--network", evidence.network), ("--answers", evidence.answers),
                              ("--export", evidence.export)):
            if given is not None:
                raise PageError(f"{option} must be left out for the overlay, which has no network of its own")
        return Subject(report=report, margins=margins, floorplan=floorplan, energy=energy)
    network, path = _network(report, evidence.network)
    samples = None if network is None else samples_of(network, models.SAMPLES)
    activity = None if network is None or samples is None else activity_of(network, samples)
    return Subject(report=report, network=network, network_path=path, activity=activity, margins=margins,
                   answers=_answers(network, report, evidence, activity), floorplan=floorplan, energy=energy,
                   export=None if evidence.export is None else read_export_report(
                       evidence.export, network_sha256=report.network_sha256))


def load_subject(folder: pathlib.Path, evidence: Evidence) -> Subject:
    """Gather what is known of a build.

    Parameters
    ----------
    folder : :class:`pathlib.Path`
        Of the build, with its ``report.json``.
    evidence : :class:`Evidence`

    Raises
    ------
    :exc:`PageError`, :exc:`support.errors.InputError`
        If the folder has no report, or a file is none of its kind or of another build.
    :exc:`OSError`
        If a file cannot be read.
    """
    return subject_of(folder, _read(folder / REPORT), evidence)
