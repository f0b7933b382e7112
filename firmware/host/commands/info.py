"""``info``: what the board is and runs. ``select``: choose a model. ``list``: the models of the flash."""

import argparse
import dataclasses
import json

from arch.link import Info, LinkCounters
from firmware.host.accelerator import Accelerator
from firmware.host.models import FAULTS, models_of
from support.command_line import print_line
from support.counting import counted
from support.errors import printable

__all__ = ["add_info", "add_list", "add_select", "print_model"]


def add_info(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", port: argparse.ArgumentParser) -> None:
    """Add the command ``info``."""
    commands.add_parser("info", parents=[port], help="print what the board is and runs").set_defaults(
        work=lambda arguments, chip: _print_info(chip.info, chip.counters, arguments.json))


def add_select(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", port: argparse.ArgumentParser) -> None:
    """Add the command ``select``."""
    parser = commands.add_parser("select", parents=[port], help="choose a model of the board's flash")
    parser.add_argument("model", metavar="N", type=int, help="choose model N of the directory, from 0")
    parser.set_defaults(
        work=lambda arguments, chip: _print_info(chip.select(arguments.model), chip.counters, arguments.json))


def add_list(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", port: argparse.ArgumentParser) -> None:
    """Add the command ``list``."""
    commands.add_parser("list", parents=[port], help="print the models of the board's flash").set_defaults(
        work=_list)


def _fields(info: Info) -> dict[str, object]:
    return {"name": info.name} | dataclasses.asdict(info) | {
        "encoding": info.encoding.name.lower(), "digest": info.digest.hex()}


def _print_info(info: Info, counters: LinkCounters, as_json: bool) -> None:
    fields = _fields(info) | dataclasses.asdict(counters)
    if as_json:
        print_line(json.dumps(fields))
        return
    for name, value in fields.items():
        print_line(f"{name:<18}{printable(str(value))}")


def _list(arguments: argparse.Namespace, chip: Accelerator) -> None:
    for model in models_of(chip):
        if model.info is not None:
            print_model(model.number, model.info, selected=model.selected, as_json=arguments.json)
        elif model.fault is not None:
            _print_fault(model.number, FAULTS[model.fault], arguments.json)


def print_model(model: int | None, info: Info, *, selected: bool, as_json: bool) -> None:
    """Print the line of a model; its number is None if it is the network of a bitstream."""
    if as_json:
        print_line(json.dumps({"model": model, "selected": selected} | _fields(info)))
        return
    shape = f"{info.image_height} x {info.image_width} x {info.channels}"
    print_line(f"{'*' if selected else ' '} {'-' if model is None else model}  {printable(info.name)}: {shape} "
               f"{info.encoding.name.lower()}, {info.classes} classes, {counted(info.timesteps, 'timestep')}, "
               f"sha256 {info.digest.hex()}")


def _print_fault(model: int | None, reason: str, as_json: bool) -> None:
    print_line(json.dumps({"model": model, "fault": reason}) if as_json else f"  {model}  {reason}")
