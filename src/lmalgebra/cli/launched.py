"""Commands that a launcher, such as torchrun or Accelerate's, has started in several processes."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import typer

from lmalgebra.errors import LmalgebraError

LINGER = 1.0
"""Seconds that the others stay after an error: a launcher ends all when one has ended, and the first still tells it."""


@contextmanager
def first_speaks() -> Iterator[bool]:
    """Says whether this process is the first one. What the others say is dropped, and so is a user's mistake, which all
    of them meet; their exit codes are the same. In the end the processes know each other no more."""
    if os.environ.get("RANK", "0") == "0":
        yield True
    else:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            try:
                yield False
            except LmalgebraError as error:
                time.sleep(LINGER)
                raise typer.Exit(error.exit_code) from None
    from lmalgebra.training.processes import part

    part()
