"""A machine whose memory runs out while the key-value cache grows."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"


@contextmanager
def memory_runs_out(monkeypatch: pytest.MonkeyPatch, after: int, error: Exception | None = None) -> Iterator[None]:
    """Let `after` more tensors of four dimensions be made, as the cache's are, and fail at every later one."""
    made, make = 0, torch.Tensor.new_zeros

    def new_zeros(like, *shape, **options):
        nonlocal made
        if shape and isinstance(shape[0], tuple) and len(shape[0]) == 4:
            made += 1
            if made > after:
                raise error or RuntimeError(CPU)
        return make(like, *shape, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "new_zeros", new_zeros)
        yield
