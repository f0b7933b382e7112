"""What glibc is told, and that nothing is told where there is none."""

import types

import pytest

from train import memory


def fake_library(monkeypatch, library, platform="linux"):
    """Put ``library`` in the place of the C library; return the names under which it is opened."""
    opened = []

    def open_library(name):
        opened.append(name)
        if isinstance(library, Exception):
            raise library
        return library

    monkeypatch.setattr(memory.ctypes, "CDLL", open_library)
    monkeypatch.setattr(memory.sys, "platform", platform)
    return opened


def test_glibc_keeps_what_is_freed(monkeypatch):
    told = []
    opened = fake_library(monkeypatch, types.SimpleNamespace(mallopt=lambda *option: told.append(option)))
    memory.keep_freed_memory()
    assert opened == ["libc.so.6"]
    # M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of malloc.h.
    assert told == [(-4, 0), (-1, 2**31 - 1), (-2, 2**28)]


@pytest.mark.parametrize("library", [OSError("libc.so.6: cannot open shared object file"), types.SimpleNamespace()])
def test_another_c_library_is_left_alone(monkeypatch, library):
    opened = fake_library(monkeypatch, library)
    memory.keep_freed_memory()
    assert opened == ["libc.so.6"]


def test_another_system_is_left_alone(monkeypatch):
    opened = fake_library(monkeypatch, types.SimpleNamespace(mallopt=None), platform="darwin")
    memory.keep_freed_memory()
    assert opened == []
