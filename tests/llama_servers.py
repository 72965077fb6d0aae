"""Servers of llama.cpp over a .gguf file, each in a process of its own: its own one, and that of llama-cpp-python."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

PATIENCE = 60.0
"""Seconds in which a server is to answer."""

_NATIVE = """
import sys, time, xllamacpp
settings = xllamacpp.CommonParams()
settings.model.path, settings.port, settings.cpuparams.n_threads = sys.argv[1], int(sys.argv[2]), 1
settings.n_ctx, settings.n_parallel = int(sys.argv[3]), 1
server = xllamacpp.Server(settings)
time.sleep(3600)
"""


@contextmanager
def native_server(file: Path, context: int) -> Iterator[str]:
    """llama.cpp's own server, as the package xllamacpp builds it; yields its address."""
    with _running(lambda port: ["-c", _NATIVE, str(file), str(port), str(context)]) as address:
        yield address


@contextmanager
def python_server(file: Path, context: int) -> Iterator[str]:
    """The server of llama-cpp-python; yields its address."""
    options = ["--n_threads", "1", "--verbose", "false", "--host", "127.0.0.1", "--n_ctx", str(context)]
    options += ["--flash_attn", "true"]  # as llama.cpp does by itself: each way rounds otherwise
    command = ["-m", "llama_cpp.server", "--model", str(file), *options]
    with _running(lambda port: [*command, "--port", str(port)]) as address:
        yield address


_PYTHON_NEEDS = ("llama_cpp", "uvicorn", "fastapi", "sse_starlette", "starlette_context", "pydantic_settings")

SERVERS: dict[str, tuple[Callable[[Path, int], AbstractContextManager[str]], tuple[str, ...]]] = {
    "llama.cpp": (native_server, ("xllamacpp",)),
    "llama-cpp-python": (python_server, _PYTHON_NEEDS),
}
"""Each server with the packages that it needs."""


def missing_for(server: str) -> list[str]:
    """The packages that a server needs and that are not installed."""
    return [package for package in SERVERS[server][1] if find_spec(package) is None]


@contextmanager
def _running(arguments: Callable[[int], list[str]]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([sys.executable, *arguments(port)], env=os.environ | {"OMP_NUM_THREADS": "1"}, **quiet)
    try:
        _await(f"http://127.0.0.1:{port}/v1/models", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(10)


def _await(url: str, process: subprocess.Popen) -> None:
    """Wait until something answers at `url`."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"no server at {url}: it {'is slow' if process.poll() is None else 'has ended'}")
