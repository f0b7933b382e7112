"""Kernels for many shapes."""

import shutil

import pytest
import torch

from train.compilation import compiled

pytestmark = [pytest.mark.filterwarnings("ignore"),  # torch.compile's own
              pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs g++")]


def double(values):
    return values * 2 + 1


def test_many_shapes_are_all_compiled():
    # What a VGG-16's layers, batches of training and validation and their dtypes come to.
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        for size in range(2, 15):
            assert torch.equal(compiled(double)(torch.ones(size)), torch.full((size,), 3.0))


def test_a_function_is_compiled_once():
    assert compiled(double) is compiled(double)
