"""Fixtures of the contract: each backend in turn, and what a session must agree with."""

import pytest
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
