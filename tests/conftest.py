"""What every Python test shares: the build it tests and the seed of its random data."""

import json
import os
import pathlib
import random
import signal

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
SEED = int(os.environ.get("MOAT_SEED") or random.SystemRandom().randrange(1, 2**32))
os.environ["MOAT_SEED"] = str(SEED)
# Whoever runs the tests in the background has a shell that ignores it, and what is started here would too.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config):
    return f"seed: {SEED} (MOAT_SEED={SEED} repeats this run)"


@pytest.fixture(scope="session")
def root():
    """The source tree."""
    return ROOT


@pytest.fixture(scope="session")
def build():
    """The build directory under test: MOAT_BUILD, or build/."""
    path = pathlib.Path(os.environ.get("MOAT_BUILD") or ROOT / "build").resolve()
    assert path.is_dir(), f"{path} is not there: run scripts/build, or set MOAT_BUILD"
    return path


@pytest.fixture(scope="session")
def sanitizers(build):
    """Those that the host of this build carries, as -fsanitize= names them; empty: none."""
    options = json.loads((build / "meson-info" / "intro-buildoptions.json").read_text())
    return next(o["value"] for o in options if o["name"] == "b_sanitize").replace("none", "")


@pytest.fixture(scope="session")
def sanitized(sanitizers):
    """True when the host of this build carries a sanitizer: figures of memory and time then say nothing."""
    return sanitizers != ""


@pytest.fixture
def rng(request):
    """Random data of this one test: the same for the same seed, whichever other tests run."""
    return random.Random(f"{SEED} {request.node.nodeid}")


@pytest.fixture(scope="session")
def long():
    """True under scripts/test --long: full sweeps."""
    return os.environ.get("MOAT_LONG") == "1"
