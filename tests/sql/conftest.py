import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import place as place_module  # noqa: E402
import server as server_module  # noqa: E402


@pytest.fixture
def place(build, tmp_path):
    """A fresh home with the querier in it, and nothing granted."""
    place = place_module.Place(build, tmp_path)
    place.have("querier")
    yield place
    place.close()


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of the test's own, with a database `shop` and a role for each purpose."""
    with server_module.running() as server:
        yield server
