"""What an operator decides of a server; a TOML file, the command line and Python name every setting alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from lmalgebra.errors import ServingError
from lmalgebra.settings_file import check_kinds, check_ranges

ALLOWABLE = ("formula", "prompts", "describe", "explain", "score", "measure")
"""What requests may be allowed: formulas and weights of their own, prompts of their own, to read the prompts of the
voices' terms, and three more answers."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""How the name of a voice is written."""

_RANGES: dict[str, tuple[float, float]] = {
    "port": (0, 65_535),
    "max_body_bytes": (1, 1 << 40),
    "max_connections": (1, 1 << 20),
    "max_running": (1, 4096),
    "max_waiting": (1, 1 << 20),
    "max_tokens": (1, 1 << 30),
    "max_samples": (1, 4096),
    "max_prompts": (1, 4096),
    "max_prompt_characters": (1, 1 << 40),
    "max_terms": (1, 4096),
    "max_formula_characters": (1, 1 << 20),
    "max_schema_characters": (1, 1 << 30),
    "max_cost": (1, 1 << 40),
    "header_seconds": (0.01, 3600),
    "body_seconds": (0.01, 3600),
    "request_seconds": (0.01, 1 << 30),
    "shutdown_seconds": (0, 1 << 30),
    "reload_seconds": (0, 3600),
}


@dataclass(frozen=True)
class ServerSettings:
    """Raises ServingError for a value of the wrong kind or out of range.

    - `voices`: voice files, or folders of them; `NAME=PATH` gives a file a name other than its own.
    - `host`, `port`: where to listen; port 0 takes a free one. Other machines reach the server only where `host` is no
      loopback address, which needs keys, or `without_keys`.
    - `keys_file`: a file of API keys, a line each, `NAME:KEY` or `KEY`; "" is none.
    - `origins`: web pages (`https://example.org`) that browsers may let call; none by default.
    - `allow`: what requests may bring or ask for, of ALLOWABLE.
    - `allowed_terms`: by voice, the terms that formulas of requests may name, with commas; by default all.
    - `rewriters`: by voice that may rewrite what others have said, what it is asked: Jinja over `text` and `prompt`; ""
      asks for other words. None may by default.
    - `rewrite_judge`, `rewrite_embedder`: what scores texts and rewrites, and the encoder that compares what they mean;
      "" is none.
    - `playground`: serve the page for trying voices, at /.
    - `judges`: by which `/v1/measure` judges texts, written as for evaluations (`profanity`); none by default.
    - `perplexity_by`: the voice of this server by which `/v1/measure` tells perplexity; "" is the first term of the
      voice that spoke.
    - `speculate`: as on the command line; for the voices' own formulas.
    - `max_running` samples speak at once, `max_waiting` requests wait, `max_connections` are open.
    - `max_tokens` for each of `max_samples` of each of `max_prompts`, of `max_prompt_characters` together; so many
      texts are scored or rewritten.
    - `max_terms`, `max_formula_characters`, `max_schema_characters`: of a request's own formula and JSON schema.
    - `max_cost`: the most tokens that one request may compute: those of prompts and texts, for every language model.
    - `header_seconds`, `body_seconds`: for a request to arrive, the latter also for a client to take some of an answer;
      `request_seconds`: to be answered.
    - `shutdown_seconds`: for what runs, when the server is told to end.
    - `reload_seconds`: between looks at the voice files; 0 looks only when told to (SIGHUP).
    - `warm_up`: let each voice say a few tokens before it is ready.
    - `log_prompts`: let logs repeat what users and formulas say.
    """

    voices: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    keys_file: str = ""
    without_keys: bool = False
    origins: tuple[str, ...] = ()
    allow: tuple[str, ...] = ALLOWABLE
    allowed_terms: Mapping[str, str] = field(default_factory=dict)
    rewriters: Mapping[str, str] = field(default_factory=dict)
    rewrite_judge: str = ""
    rewrite_embedder: str = ""
    playground: bool = True
    judges: tuple[str, ...] = ()
    perplexity_by: str = ""
    speculate: str = "off"
    max_running: int = 32
    max_waiting: int = 64
    max_connections: int = 256
    max_body_bytes: int = 1 << 20
    max_tokens: int = 4096
    max_samples: int = 16
    max_prompts: int = 32
    max_prompt_characters: int = 100_000
    max_terms: int = 8
    max_formula_characters: int = 2000
    max_schema_characters: int = 50_000
    max_cost: int = 200_000
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    request_seconds: float = 600.0
    shutdown_seconds: float = 60.0
    reload_seconds: float = 2.0
    warm_up: bool = True
    log_prompts: bool = False

    def __post_init__(self) -> None:
        check_kinds(self, ServingError)
        check_ranges(self, _RANGES, ServingError)
        if not self.voices:
            raise ServingError("No voice is given.", "Name at least one voice file.")
        for what in self.allow:
            if what not in ALLOWABLE:
                raise ServingError(f"allow names '{what}'.", f"Requests can be allowed {', '.join(ALLOWABLE)}.")

    @property
    def is_local(self) -> bool:
        """Whether only programs of this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def max_in_hand(self) -> int:
        """Requests that are read, waiting or answered at once; more are told to come later."""
        return self.max_running + self.max_waiting

    def terms_of(self, voice: str) -> tuple[str, ...] | None:
        """The terms of `voice` that requests may name; None for all."""
        listed = self.allowed_terms.get(voice)
        return None if listed is None else tuple(name.strip() for name in listed.split(",") if name.strip())
