"""Fixtures of the contract: each backend in turn, and what a session must agree with."""

from collections.abc import Iterator

import pytest
import torch
from backends import NAMES, Backend, backend
from followed import Followed

from lmalgebra.models import llamacpp, transformers


@pytest.fixture(params=NAMES, name="backend")
def each_backend(request) -> Backend:
    return backend(request.param)


@pytest.fixture
def rows(backend) -> Followed:
    """A fresh session whose every answer is checked."""
    return Followed(backend)


@pytest.fixture
def small_passes(monkeypatch) -> None:
    """Forward passes of at most seven new tokens."""
    monkeypatch.setattr(transformers, "PASS_TOKENS", 7)
    monkeypatch.setattr(llamacpp, "TOKENS_AT_ONCE", 7)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from a second thread, and lose much where another program keeps it busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
