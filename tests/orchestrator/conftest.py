"""A server with plugins to run tasks over."""

import pytest

from taskkit import Tasks
from place import Place


@pytest.fixture(scope="module")
def tasks(build, tmp_path_factory):
    place = Place(build, tmp_path_factory.mktemp("tasks"))
    place.have("echo")
    place.have("data_processor")
    yield Tasks(place).start()
    place.close()
