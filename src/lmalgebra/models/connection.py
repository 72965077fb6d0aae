"""Questions to one server by http: many at once, asked again where a failure may pass, with the key kept to itself.

The questions of a call run in an event loop on a thread of their own, so that they may wait for each other's answers
while the caller can be interrupted: Ctrl-C ends them all.
"""

import asyncio
import json
import os
import random
import threading
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from time import time
from typing import Any
from weakref import finalize

import httpx2

from lmalgebra.errors import ModelError

CONNECTIONS = 16
"""Questions that are asked at once; more wait."""

KEPT_OPEN = 2
"""Connections that stay open between questions, by plain http; by https, where they are dear to open, all do.
llama.cpp's server lends each a thread for as long, and what comes in beyond its threads waits 5 s."""

ATTEMPTS = 5
"""How often a question is asked in all, where a failure may pass."""

FIRST_WAIT = 0.5
"""Seconds before a question is asked again; they double each time, and each is shortened by a random part."""

LONGEST_WAIT = 30.0
"""Seconds that are waited at most, also where a server asks for more."""

TIMEOUT = 120.0
"""Seconds without a byte after which an attempt has failed."""

_SHOWN = 200  # characters of a server's own words in an error


class RefusedError(ModelError):
    """The server has answered, with an error of its own: its `status`, and in `words` what it says of it."""

    def __init__(self, status: int, words: str, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.status, self.words = status, words


_Request = tuple[str, str, Any]
"""A method, a path, and what is sent as JSON."""


class Connection:
    """Asks the server at `address`, with the key that the environment variable `key_env` holds, if that is named.

    The key is read at every call and kept nowhere. Redirects are not followed: they could take it to another host.
    Raises ModelError for an address that is none.
    """

    def __init__(self, address: str, key_env: str = "") -> None:
        self.address, self.key_env = address.rstrip("/"), key_env
        kept = CONNECTIONS if self.address.startswith("https") else KEPT_OPEN
        limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=kept)
        try:
            httpx2.URL(self.address)
            client = httpx2.AsyncClient(timeout=httpx2.Timeout(TIMEOUT, connect=10, pool=None), limits=limits)
        except (httpx2.InvalidURL, ValueError, UnicodeError) as error:
            raise ModelError(f"'{address}' is no address of a server: {error}.", "Check it.") from None
        self._client, self._loop = client, asyncio.new_event_loop()
        thread = threading.Thread(target=_serve, args=(self._loop, client), name="lmalgebra remote", daemon=True)
        thread.start()
        finalize(self, _stop, self._loop, thread)

    def get(self, path: str, attempts: int = ATTEMPTS) -> Any:
        """What the server has at `path`. Raises as `post`."""
        return self._wait_for([("GET", path, None)], attempts)[0]

    def post(self, path: str, questions: Sequence[Any], attempts: int = ATTEMPTS) -> list[Any]:
        """The server's answers to `questions`, each of which is sent to `path` as JSON.

        Raises RefusedError where it refuses one, ModelError where it does not answer or the key is not there.
        """
        return self._wait_for([("POST", path, question) for question in questions], attempts)

    def _wait_for(self, requests: Sequence[_Request], attempts: int) -> list[Any]:
        key = self._key()
        running = asyncio.run_coroutine_threadsafe(self._all(requests, key, attempts), self._loop)
        try:
            return running.result()
        finally:
            running.cancel()  # where this thread was interrupted

    def _key(self) -> str:
        if not self.key_env:
            return ""
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            raise ModelError(
                f"The environment variable '{self.key_env}', which is to hold the key for {self.address}, is not set.",
                f"Set it, such as by: export {self.key_env}=...",
            )
        if not (key.isascii() and key.isprintable()):
            raise ModelError(f"The environment variable '{self.key_env}' holds no key: it has characters of no key.")
        return key

    async def _all(self, requests: Sequence[_Request], key: str, most: int) -> list[Any]:
        free = asyncio.Semaphore(CONNECTIONS)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._ask(free, each, key, most)) for each in requests]
        except BaseExceptionGroup as failures:  # the others are cancelled by now
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def _ask(self, free: asyncio.Semaphore, request: _Request, key: str, most: int) -> Any:
        """What the server answers to one request, asked at most so many times."""
        method, path, question = request
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        for attempt in range(1, most + 1):
            asked_for = 0.0
            try:
                async with free:
                    url = f"{self.address}{path}"
                    response = await self._client.request(method, url, json=question, headers=headers)
            except httpx2.RequestError as error:
                trouble = _trouble(error)
            else:
                if response.status_code != 429 and response.status_code < 500:
                    return self._content(response.status_code, response.content, key)
                trouble = f"it answers {response.status_code}{_quoted(_words(response.content, key))}"
                asked_for = _retry_after(response.headers.get("Retry-After", ""))
            if attempt == most or asked_for > LONGEST_WAIT:
                break
            await asyncio.sleep(asked_for + _backoff(attempt))
        waits = f" and asks to wait {asked_for:,.0f} s" if asked_for > LONGEST_WAIT else ""
        times = "once" if attempt == 1 else f"{attempt} times"
        raise ModelError(
            f"The server at {self.address} does not answer: {trouble}{waits} (asked {times}).",
            "Check the address and that the server runs, or try again later.",
        )

    def _content(self, status: int, content: bytes, key: str) -> Any:
        """What an answer holds. Raises RefusedError for an error, ModelError for what is no JSON."""
        if status != 200:
            raise _refused(status, _words(content, key), self.address, self.key_env)
        try:
            found = json.loads(content)
        except ValueError:
            begins = _redacted(content.decode(errors="replace"), key)[:60]
            raise ModelError(
                f"The server at {self.address} answers with something that is not JSON: {begins!r}.",
                "Check the address: that of OpenAI's protocol mostly ends in /v1.",
            ) from None
        if isinstance(found, dict) and found.get("error"):  # some do not say it by the status
            raise _refused(status, _words(content, key), self.address, self.key_env)
        return found


def _refused(status: int, words: str, address: str, key_env: str) -> RefusedError:
    """An answer that is an error, in a sentence."""
    said = _quoted(words)
    if status in (401, 403):  # whose words may hold parts of the key
        message = f"The server at {address} does not let us in ({status})."
        hint = f"Check the key in {key_env}." if key_env else "Name the environment variable of a key in key_env."
    elif 300 <= status < 400:
        message = f"The server at {address} sends us elsewhere ({status}), where no question or key is sent."
        hint = "Give the address that it is to be found at."
    elif status in (404, 405) and "model" not in words.lower():
        message = f"The server at {address} has no completions ({status}){said}."
        hint = "Check the address, which mostly ends in /v1; a server that only chats cannot be a term."
    elif status == 404:
        message, hint = f"The server at {address} does not serve this model (404){said}.", "Check `served`."
    else:
        message = f"The server at {address} refuses the question ({status}){said}."
        hint = "It may give fewer log-probabilities (top_logprobs), or read shorter prompts."
    return RefusedError(status, words, message, hint)


def _words(content: bytes, key: str) -> str:
    """What a server says of an error, in one line and without the key."""
    text = content.decode(errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        found = text if not text.lstrip().startswith("<") else ""  # a web page
    while isinstance(found, dict):
        found = next((found[key] for key in ("error", "message", "detail") if found.get(key)), "")
    line = " ".join(str(found or "").split())
    return _redacted(line, key)[:_SHOWN].rstrip(".")


def _redacted(text: str, key: str) -> str:
    return text.replace(key, "...") if key else text


def _quoted(words: str) -> str:
    return f": {words}" if words else ""


def _trouble(error: httpx2.RequestError) -> str:
    """Why there is no answer."""
    if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError):
        return "there is no connection"
    if isinstance(error, httpx2.TimeoutException):
        return f"nothing came for {TIMEOUT:g} s"
    if isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError | httpx2.WriteError):
        return "it broke off"
    return f"the request failed ({type(error).__name__})"


def _retry_after(header: str) -> float:
    """Seconds that a server asks to wait: a number, or until a date."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time())
    except (ValueError, TypeError):
        return 0.0


def _backoff(attempt: int) -> float:
    """Seconds before the attempt after this one: doubled each time, of which a random part is left out."""
    return min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)) * random.uniform(0.5, 1)


def _serve(loop: asyncio.AbstractEventLoop, client: httpx2.AsyncClient) -> None:
    """What the thread does: run the loop until it is stopped, then close what is open."""
    loop.run_forever()
    loop.run_until_complete(client.aclose())
    loop.close()


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    if threading.current_thread() is not thread:
        thread.join(5)
