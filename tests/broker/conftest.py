import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "cli"))
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from homes import either, place  # noqa: E402, F401
from names import Names  # noqa: E402


@pytest.fixture
def names():
    """A name server on loopback."""
    with Names() as served:
        yield served
