import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "cli"))
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import place as place_module  # noqa: E402
from names import Names  # noqa: E402


@pytest.fixture
def place(build, tmp_path):
    """A fresh home without a server."""
    place = place_module.Place(build, tmp_path)
    yield place
    place.close()


@pytest.fixture(params=["alone", "served"])
def either(request, place):
    """A fresh home, once without a server and once with one."""
    if request.param == "served":
        place.serve()
    return place


@pytest.fixture
def names():
    """A name server on loopback."""
    with Names() as served:
        yield served
