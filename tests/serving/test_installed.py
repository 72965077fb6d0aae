"""Says it where the other tests of this folder are left out, since what they need is not installed."""

import os

import pytest

from serving.conftest import MISSING


def test_what_the_server_needs_is_installed():
    if MISSING and not os.environ.get("LMALGEBRA_REQUIRE_MODEL"):
        pytest.skip(f"needs {', '.join(MISSING)}: run `make test`")
    assert not MISSING
