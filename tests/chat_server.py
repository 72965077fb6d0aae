"""A real http server that speaks OpenAI's chat protocol, with a function for a model."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Chat:
    """`answer` gives the status and the text, or the whole answer, to what the user says; `asked` keeps the bodies."""

    answer: Callable[[str], tuple[int, Any]]
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    address: str = ""


@contextmanager
def chatting(answer: Callable[[str], tuple[int, Any]]) -> Iterator[Chat]:
    chat = Chat(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            chat.asked.append(body)
            chat.keys.append(self.headers.get("Authorization"))
            content = body["messages"][-1]["content"]
            status, said = chat.answer(content) if self.path == "/v1/chat/completions" else (404, {})
            whole = said if isinstance(said, dict) else {"choices": [{"message": {"content": said}}]}
            sent = json.dumps(whole).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    chat.address = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
