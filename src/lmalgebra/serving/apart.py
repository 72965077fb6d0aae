"""Work that computes beside the service's thread, on a thread that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Judging:
    """Lets judges work beside the voices, one at a time, since neither they nor encoders are for several threads."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def __call__(self, work: Callable[[], Result]) -> Result:
        """What `work` returns. Who is cancelled meanwhile keeps the place until it is done."""
        async with self._lock:
            return await apart(work)


async def apart(work: Callable[[], Result]) -> Result:
    """What `work` returns. Its thread ends with it, and so do those that compute for it: see `decoding.service`.

    Who is cancelled meanwhile waits until it is done, since it cannot be ended.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="lmalgebra apart")
    doing = asyncio.get_running_loop().run_in_executor(thread, work)
    thread.shutdown(wait=False)
    try:
        return await asyncio.shield(doing)
    except asyncio.CancelledError:
        await asyncio.wait({doing})
        raise
