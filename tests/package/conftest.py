import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "cli")]

import packing as packing_module  # noqa: E402


@pytest.fixture
def packing(build, tmp_path):
    """A plugin that can be packed, and a key."""
    return packing_module.Packing(build, tmp_path)


@pytest.fixture
def package(packing, tmp_path):
    """The same plugin as a signed package."""
    out = tmp_path / "demo-1.0.0.moat"
    made = packing.pack(out)
    assert made.returncode == 0, made.stderr
    return out
