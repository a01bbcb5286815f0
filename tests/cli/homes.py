"""Homes as fixtures, for every folder whose tests drive `moat`: a conftest imports those that it wants."""

import pytest
from place import Place


@pytest.fixture
def place(build, tmp_path):
    """A fresh home without a server."""
    place = Place(build, tmp_path)
    yield place
    place.close()


@pytest.fixture(params=["alone", "served"])
def either(request, place):
    """A fresh home, once without a server and once with one."""
    if request.param == "served":
        place.serve()
    return place
