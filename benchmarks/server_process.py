"""What the benchmarks of servers share: a server in a process of its own, and clients that stream from it."""

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 600
"""Seconds after which something that should come is taken to be lost."""

ENDING = 60
"""Seconds that a server has to end."""

HEADERS = {"Content-Type": "application/json"}


@dataclass
class Server:
    """A process that serves at `port`, and its log."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def get(self, path: str) -> str:
        """What stands at a path. Raises OSError while nobody listens, RuntimeError for another status than 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise RuntimeError(f"{path} was answered with {answer.status}: {text[:200]}")
        return text

    def megabytes(self) -> float:
        """Resident memory of the process (10^6 bytes); Linux only."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmRSS"))


@contextmanager
def started(command: Sequence[str], port: int, ready: str, log: Path) -> Iterator[Server]:
    """A server, from when it answers at the path `ready` to its end. Raises RuntimeError when it ends before."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    server = Server(process, port, log)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _answers(server, ready):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command)} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(ENDING)
        except subprocess.TimeoutExpired:  # Transformers' may wait for its own threads
            process.kill()
            process.wait()


def _answers(server: Server, path: str) -> bool:
    try:
        server.get(path)
    except (OSError, RuntimeError):
        return False
    return True


def ours(voices: Path, log: Path, settings: str = "") -> Any:
    """`lmalgebra serve` over a folder of voices; `settings` are lines of its TOML file."""
    port, file = free_port(), voices / "server"
    file.write_text(f'voices = ["{voices}"]\nport = {port}\nreload_seconds = 0\n{settings}')
    return started([sys.executable, "-m", "lmalgebra", "serve", "--settings", str(file)], port, "/ready", log)


def transformers(folder: Path, dtype: str, options: Sequence[str], log: Path) -> Any:
    """`transformers serve` over the same weights."""
    port = free_port()
    own = ["--host", "127.0.0.1", "--port", str(port), "--dtype", dtype, "--device", "cpu"]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), *own, *options]
    return started(command, port, "/health", log)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@dataclass
class Told:
    """What came of one request: when it was asked, and when each piece of text came (seconds)."""

    asked: float
    pieces: list[float] = field(default_factory=list)
    status: int = 0
    end: str = ""

    @property
    def first(self) -> float:
        return self.pieces[0] - self.asked

    @property
    def whole(self) -> float:
        return self.pieces[-1] - self.asked


def stream(port: int, body: Mapping[str, Any], stay: Callable[[Told], bool] = lambda told: True) -> Told:
    """Stream a chat completion; closes the connection after a piece at which the client would not `stay`.

    `end` says how it ended: "done", "left", or what went wrong.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    told = Told(time.perf_counter())
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps({**body, "stream": True}), HEADERS)
        answer = connection.getresponse()
        told.status = answer.status
        if answer.status != 200:
            told.end = answer.read(500).decode(errors="replace")
            return told
        for line in answer:
            line = line.replace(b'": ', b'":')
            if b'"content":"' in line and b'"content":""' not in line:
                told.pieces.append(time.perf_counter())
                if not stay(told):
                    told.end = "left"
                    return told
            elif line.startswith(b'data: {"error":'):
                told.end = line.decode(errors="replace")
            elif b'"finish_reason":"' in line:
                told.end = told.end or "done"
        told.end = told.end or "cut off"
        return told
    finally:
        connection.close()
