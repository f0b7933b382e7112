"""The page about embedding has the ports and registers that there are."""

import pathlib

import pytest

from gateware.embedded.interfaces import Interface, ports_of
from gateware.verilog.page import port_table, register_tables
from gateware.verilog.synthesis import FAMILIES

PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "embedding.md").read_text()


@pytest.mark.parametrize("interface", Interface)
def test_the_page_has_the_ports(interface):
    heading = f"### Ports of `{interface.value}`"
    assert heading in PAGE
    section = PAGE.partition(heading)[2].partition("\n#")[0]
    assert f"\n{port_table(ports_of(interface, classes=10))}\n" in section


def test_the_page_has_the_registers():
    assert register_tables(Interface.WISHBONE) in PAGE


def test_the_page_has_every_family():
    section = PAGE.partition("## What it takes")[2].partition("\n## ")[0]
    assert all(f"| {family.title} |" in section for family in FAMILIES.values())
