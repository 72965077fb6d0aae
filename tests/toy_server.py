"""A real http server that serves the exact toy table by OpenAI's completions protocol, in the ways of several servers.

It keeps what it is asked, and does whatever trouble a test has queued before it answers properly again.
"""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lmalgebra.models.table import TableModel, TableTokenizer

_LOGPROBS = TableModel.logprobs  # as it is, whatever a test does to it

TEXT, IDS, CONTENT = "text", "ids", "content"
"""How tokens are named: by what they say, by `token_id:7` where that is asked for, or with id, text and bytes."""


@dataclass
class ToyServer:
    """What the server serves and how; `asked` are the completions' questions, `troubles` are done first, in turn."""

    table: TableModel = field(default_factory=TableModel)
    names: str = CONTENT
    takes_ids: bool = True
    hides_end: bool = False
    key: str = ""
    models: tuple[str, ...] = ("toy",)
    facts: Mapping[str, Any] = field(default_factory=dict)
    most_logprobs: int | None = None
    troubles: deque[Callable[["Handler"], None]] = field(default_factory=deque)
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    address: str = ""

    def complete(self, question: Mapping[str, Any]) -> tuple[int, Any]:
        """The status and content of an answer."""
        prompt = question["prompt"]
        if isinstance(prompt, list) and not self.takes_ids:
            return 500, _error("the prompt is no text")
        if self.models and question.get("model", self.models[0]) not in self.models:
            return 404, _error(f"The model `{question['model']}` does not exist.")
        if self.most_logprobs is not None and question["logprobs"] > self.most_logprobs:
            return 400, _error(f"logprobs must be at most {self.most_logprobs}")
        tokens = prompt if isinstance(prompt, list) else TableTokenizer(self.table).encode([prompt])
        return 200, self._completion(tokens, question)

    def _completion(self, tokens: list[int], question: Mapping[str, Any]) -> dict[str, Any]:
        logprobs = _LOGPROBS(self.table, tokens).tolist()
        likely = sorted(range(len(logprobs)), key=lambda token: -logprobs[token])
        own = next((int(token) for token in question.get("logit_bias", {})), likely[0])
        ends = own == self.table.pieces.index(self.table.end)
        top = likely[: question["logprobs"]]
        told: dict[str, Any] | None = None
        if not (self.hides_end and ends):
            by_id = self.names == IDS and question.get("return_tokens_as_token_ids", False)
            told = (
                self._by_content(top, logprobs)
                if self.names == CONTENT
                else self._by_name({*top, own}, logprobs, by_id)
            )
        choice = {"text": "", "index": 0, "logprobs": told, "finish_reason": "stop" if ends else "length"}
        return {"object": "text_completion", "choices": [choice], "usage": {"prompt_tokens": len(tokens)}}

    def _by_content(self, top: list[int], logprobs: list[float]) -> dict[str, Any]:
        pieces = self.table.pieces
        told = [{"id": t, "token": pieces[t], "bytes": [*pieces[t].encode()], "logprob": logprobs[t]} for t in top]
        return {"content": [told[0] | {"top_logprobs": told}]}

    def _by_name(self, told: set[int], logprobs: list[float], by_id: bool) -> dict[str, Any]:
        hidden = self.table.end if self.hides_end else None
        names = {
            t: f"token_id:{t}" if by_id else "" if self.table.pieces[t] == hidden else self.table.pieces[t]
            for t in told
        }
        return {"top_logprobs": [{names[token]: logprobs[token] for token in told}]}


class Handler(BaseHTTPRequestHandler):
    """One request to a `ToyServer`."""

    protocol_version = "HTTP/1.1"
    toy: ToyServer

    def do_GET(self) -> None:
        if self._is_let_in():
            models = [{"id": name, **self.toy.facts} for name in self.toy.models]
            self.answer(200, {"object": "list", "data": models}) if models else self.answer(404, _error("Not Found"))

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._is_let_in():
            return
        self.toy.asked.append(question)
        if self.toy.troubles:
            self.toy.troubles.popleft()(self)
        elif self.path != "/v1/completions":
            self.answer(404, _error("Not Found"))
        else:
            self.answer(*self.toy.complete(question))

    def answer(self, status: int, content: Any, **headers: str) -> None:
        """Send a whole answer; text goes as it is."""
        body = content.encode() if isinstance(content, str) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def break_off(self) -> None:
        """Close the connection in the middle of an answer."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"choices": [{"te')
        self.close_connection = True

    def _is_let_in(self) -> bool:
        self.toy.headers.append(dict(self.headers))
        if self.toy.key and self.headers.get("Authorization") != f"Bearer {self.toy.key}":
            self.answer(401, _error(f"{self.headers.get('Authorization')} is not the key"))
            return False
        return True

    def log_message(self, *_: Any) -> None: ...


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error"}}


@contextmanager
def serving(toy: ToyServer) -> Iterator[ToyServer]:
    """Run a server for `toy` and set its `address`."""
    server = _Server(("127.0.0.1", 0), type("ToyHandler", (Handler,), {"toy": toy}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    toy.address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield toy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
