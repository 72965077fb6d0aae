"""A real server process over the exact toy, and ways to talk to it."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tiny_classifiers import bert, save_classifier

MISSING = [name for name in ("openai", "prometheus_client") if find_spec(name) is None]
if MISSING:  # in an environment from before there was a server; test_installed says so
    collect_ignore = [path.name for path in Path(__file__).parent.glob("test_*.py") if path.stem != "test_installed"]

PATIENCE = 120
"""Seconds after which something that should come is taken to be lost."""

TOY = """
formula = "base + 0.6 * (formal - base)"
[models.small]
source = "toy"
[models.other]
source = "toy:5"
[terms.base]
model = "small"
[terms.formal]
model = "small"
prefix = "dear sir, "
[terms.short]
json_schema = '{"enum": ["a", "b"]}'
[terms.secret]
model = "other"
[generation]
max_new_tokens = 12
"""

JUDGE = """
def share(texts):
    if any("break" in text for text in texts):
        raise ValueError("a judge that breaks")
    return [text.count("e") / max(1, len(text)) for text in texts]
"""
REWRITER = "say {{ text }} to {{ prompt }}"

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}, "kind": {"enum": ["x", "y"]}},
    "required": ["n", "kind"],
    "additionalProperties": False,
}


class Served:
    """A server process; its log is read as it comes."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        command = [sys.executable, "-m", "lmalgebra", "serve", *arguments, "--port", "0"]
        environment = os.environ | variables
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    @property
    def port(self) -> int:
        line = self.wait_for(lambda: next((line for line in self.lines if line.startswith("Serving ")), None))
        return int(line.partition("http://127.0.0.1:")[2].partition(" ")[0])

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (found := condition()):
            assert time.monotonic() < deadline, self.lines
            assert self.process.poll() is None or condition(), self.lines
            time.sleep(0.01)
        return found

    def ready(self) -> "Served":
        """This server, when it is ready."""
        assert self.port
        self.wait_for(lambda: self.request("GET", "/ready")[0] == 200)
        return self

    def request(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
        """Status, content and headers of an answer; a body that is no bytes is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            sent = {"Content-Type": "application/json"} | {key.replace("_", "-"): its for key, its in headers.items()}
            connection.request(method, path, content, sent)
            answer = connection.getresponse()
            text = answer.read().decode()
            is_json = (answer.headers["Content-Type"] or "").startswith("application/json")
            return answer.status, json.loads(text) if is_json else text, dict(answer.headers)
        finally:
            connection.close()

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """The content of an answer that must be there."""
        status, content, _ = self.request("POST", path, {"model": "toy"} | body)
        assert status == 200, content
        return content

    def refusal(self, path: str, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
        """The status and the error of an answer that must be one."""
        status, content, _ = self.request("POST", path, body, **headers)
        error = content["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert status >= 400
        return status, error

    def metric(self, name: str) -> float:
        """The value of a metric, whose labels are part of its name."""
        text = self.request("GET", "/metrics")[1]
        return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + " ")), 0.0)

    @contextmanager
    def client(self, **settings: Any) -> Iterator[Any]:
        import openai

        address = f"http://127.0.0.1:{self.port}/v1"
        with openai.OpenAI(base_url=address, **{"api_key": "none", "max_retries": 0} | settings) as client:
            yield client

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log's entries of one kind."""
        entries = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [entry for entry in entries if entry["event"] == event]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to end, and wait until it has."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


@pytest.fixture
def toy_file(tmp_path: Path) -> Path:
    path = tmp_path / "toy.toml"
    path.write_text(TOY)
    return path


@contextmanager
def running(*arguments: object, **variables: str) -> Iterator[Served]:
    """A server that is ready, and gone afterwards."""
    served = Served(*map(str, arguments), **variables)
    try:
        yield served.ready()
    finally:
        served.process.kill()  # nothing happens where it has ended
        served.end()


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small random encoder."""
    return save_classifier(tmp_path_factory.mktemp("encoder"), bert(), start=True, end=True)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Iterator[Served]:
    """A server that tests share, which leave it as it was."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "toy.toml").write_text(TOY)
    (folder / "letters.py").write_text(JUDGE)
    settings = folder / "server.toml"
    settings.write_text(
        f'voices = ["{folder}/toy.toml", "second={folder}/toy.toml"]\n'
        "max_tokens = 3900\nmax_samples = 4\nmax_prompts = 3\nmax_body_bytes = 20000\nmax_prompt_characters = 5000\n"
        "max_terms = 4\nmax_formula_characters = 400\nmax_schema_characters = 8000\nmax_cost = 40000\n"
        "header_seconds = 1.0\nbody_seconds = 1.0\n"
        f'rewrite_judge = "letters:share"\nrewrite_embedder = "{encoder}"\n'
        f'[allowed_terms]\ntoy = "base, formal, short"\n[rewriters]\ntoy = "{REWRITER}"\n'
    )
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    with running("--settings", settings, PYTHONPATH=path) as server:
        yield server
