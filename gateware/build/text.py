"""Reports as text, which says of each figure how it is known, and only what was done."""

from gateware.reports.build import BuildReport
from gateware.reports.network import Report
from gateware.reports.overlay import OverlayReport
from support.counting import counted
from support.errors import printable

__all__ = ["format_overlay", "format_report"]

#: Bits that the flash sends in a clock, by how it is read.
_FLASH_BITS = {"single": 1, "quad": 4, "double": 8}


def _row(name: str, value: str, note: str) -> str:
    return f"  {name:<28} {value:>22}   {note}"


def _placed_rows(report: BuildReport, how: str = "place and route") -> list[str]:
    """Lines of what place and route found, and how that is known."""
    return [_row("logic cells", f"{report.lc} / {report.lc_total}", how),
            _row("block RAM, SPRAM, DSP", f"{report.ebr}, {report.spram}, {report.dsp}", how),
            _row("Fmax, median of seeds", f"{report.fmax_median_mhz:.2f} MHz of {len(report.fmax_mhz)}", how)]


def _verified_rows(report: BuildReport) -> list[str]:
    """Lines of what was simulated after the tools."""
    return [_row(verified.rung, counted(verified.images, "image"),
                 "simulated, as are pads, PLL and reset; equal to the reference, clocks too")
            for verified in report.verified]


def format_report(report: Report) -> str:
    """Lay out a report as lines of name, value and how it is known."""
    lines = [f"{report.network} on {report.board}, {report.clock_mhz:g} MHz, host link {report.baud} baud"]
    if report.lc is None:
        lines += [_row("logic cells", f"{report.lc_estimate} / {report.lc_total}", "estimated"),
                  _row("block RAM", f"{report.ebr_estimate}", "estimated")]
    else:
        lines += _placed_rows(report)
    simulated = (f"exact; equal in simulation of {counted(report.sample_images, 'image')}" if report.sample_images else
                 "exact, by the cycle model; not simulated here")
    lines += [
        _row("array P x W x T", f"{report.lanes} x {report.width} x {report.timesteps}",
             f"{report.sop_per_cycle} synaptic operations per clock"),
        _row("peak, effective", f"{report.peak_gsops:g}, {report.effective_gsops:g} GSOP/s", "at this clock"),
        _row("cycles per image", f"{report.cycles_per_inference}", simulated),
        _row("latency", f"{report.latency_ms:g} ms", "last pixel to class"),
        _row("images per second", f"{report.images_per_second_link:g}", "with the host link"),
        _row("utilisation", f"{report.array_utilisation.after_first:.1%}", "of the array, layers after the first"),
    ]
    if report.accuracy is not None:
        images = "" if report.accuracy_images is None else f" of {report.accuracy_images}"
        file = "images" if report.accuracy_file is None else report.accuracy_file
        lines.append(_row("accuracy", f"{report.accuracy:.2%}{images}",
                          f"exported integers on {file}, says the network's file"))
    if report.sample_images:
        lines.append(_row("accuracy on samples", f"{report.sample_accuracy:.2%} of {report.sample_images}",
                          f"simulated: RTL of this build, {report.sample_dataset}"))
    lines += _verified_rows(report)
    lines.append(_row("exact in every channel", report.certificate, "certificate of the export"))
    lines += [_row("circuit also takes", f"{also.cycles_per_inference} cycles",
                   f"per image of {printable(also.network)}, {printable(also.file)}") for also in report.also]
    return "\n".join(lines)


def format_overlay(report: OverlayReport, *, shipped: OverlayReport | None = None) -> str:
    """Lay out the report of an overlay as :func:`format_report` does that of a network.

    What ``shipped``, the report that ships of this circuit, says of size and speed stands for what was not done.
    """
    lines = [f"overlay on {report.board}, {report.clock_mhz:g} MHz, host link {report.baud} baud"]
    if report.lc is not None:
        lines += _placed_rows(report)
    elif shipped is not None:
        lines += _placed_rows(shipped, f"the report that ships, of a build for {shipped.clock_mhz:g} MHz")
    lines += [
        _row("array P x W x T", f"{report.lanes} x {report.width} x {report.timesteps}",
             f"{report.sop_per_cycle} synaptic operations per clock"),
        _row("peak", f"{report.peak_gsops:g} GSOP/s", "at this clock"),
        _row("membranes", f"{report.membrane_width} bits", f"{report.fraction} of them behind the point"),
        _row("spike memory", f"{report.spike_words} words", f"{report.width} x {report.timesteps} bits each"),
        _row("flash", f"{_FLASH_BITS[report.flash_mode]} bit{'s'[:report.flash_mode != 'single']} a clock",
             f"models from {report.models_at:#x} in {report.flash_bytes >> 20} MiB"),
        _row("circuit", report.circuit[-4:], f"fingerprint; the signature is {report.circuit}"),
    ]
    if report.sample_images:
        lines += [
            _row("cycles per image", f"{report.sample_cycles}",
                 f"of {report.sample_network}, as the cycle model says; equal in simulation of {report.sample_images} "
                 f"images"),
            _row("accuracy on samples", f"{report.sample_accuracy:.2%} of {report.sample_images}",
                 f"simulated: RTL of this build, {report.sample_dataset}")]
    else:
        lines.append(_row("simulated", "nothing", "the overlay has no network of its own"))
    lines += _verified_rows(report)
    if report.bitstream_sha256 is not None:
        lines.append(_row("bitstream", f"{report.bitstream_bytes} bytes", f"sha256 {report.bitstream_sha256}"))
    return "\n".join(lines)
