"""`lmalgebra serve`: voices behind OpenAI's API."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmalgebra.cli import options
from lmalgebra.cli.console import say
from lmalgebra.cli.option_groups import PlaceOptions, grouped
from lmalgebra.cli.options import given, option
from lmalgebra.cli.voices import open_voice
from lmalgebra.errors import MissingExtraError, ServingError

if TYPE_CHECKING:
    from lmalgebra.algebra import Voice
    from lmalgebra.decoding import ComposedVoice
    from lmalgebra.serving import ServerSettings

_WHERE, _WHO, _WHAT, _LIMITS = "Where", "Who, and what they may", "What else", "Limits"
EXTRA = ("fastapi", "uvicorn", "prometheus_client", "h11")


@grouped
def serve(
    *,
    voices: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VOICE...", show_default=False, help="Voice files or folders of them; NAME=PATH gives another name."
        ),
    ] = None,
    settings: Annotated[
        Path | None, option(_WHERE, "--settings", text="A TOML file of settings (docs/serving.md).", metavar="FILE")
    ] = None,
    host: Annotated[
        str | None, option(_WHERE, "--host", text="The address to listen at. Default: 127.0.0.1.", metavar="ADDRESS")
    ] = None,
    port: Annotated[
        int | None, option(_WHERE, "--port", text="The port; 0 takes a free one. Default: 8000.", metavar="NUMBER")
    ] = None,
    keys_file: Annotated[
        str | None,
        option(
            _WHO,
            "--keys-file",
            text="API keys, a line each, NAME:KEY or KEY; also LMALGEBRA_API_KEYS, with commas.",
            metavar="FILE",
        ),
    ] = None,
    without_keys: Annotated[
        bool | None, option(_WHO, "--without-keys", text="Let everybody in, from other machines, too.")
    ] = None,
    origins: Annotated[
        list[str] | None,
        option(_WHO, "--origin", text="A web page that browsers let call; may be given again.", metavar="ORIGIN"),
    ] = None,
    allow: Annotated[
        list[str] | None,
        option(
            _WHO,
            "--allow",
            text="What requests may bring or ask for: formula, prompts, describe, explain, score, measure. "
            "Default: all of them.",
            metavar="WHAT",
        ),
    ] = None,
    playground: Annotated[
        bool | None,
        option(_WHAT, "--playground/--no-playground", text="Serve the page for trying voices, at /. Default: yes."),
    ] = None,
    judges: Annotated[
        list[str] | None,
        option(
            _WHAT,
            "--judge",
            text="By which requests may have texts judged, such as profanity; may be given again.",
            metavar="JUDGE",
        ),
    ] = None,
    max_running: Annotated[
        int | None, option(_LIMITS, "--batch", text="Samples in progress at once. Default: 32.", metavar="SAMPLES")
    ] = None,
    max_waiting: Annotated[
        int | None,
        option(_LIMITS, "--max-waiting", text="Requests that may wait; more get 429. Default: 64.", metavar="REQUESTS"),
    ] = None,
    max_tokens: Annotated[
        int | None, option(_LIMITS, "--max-tokens", text="Tokens of one text. Default: 4096.", metavar="TOKENS")
    ] = None,
    max_cost: Annotated[
        int | None,
        option(
            _LIMITS,
            "--max-cost",
            text="Tokens that one request may compute, over prompts, texts and terms. Default: 200000.",
            metavar="TOKENS",
        ),
    ] = None,
    log_prompts: Annotated[
        bool | None, option(_LIMITS, "--log-prompts", text="Let the log repeat prompts and answers.")
    ] = None,
    places: PlaceOptions,
    speculate: options.Speculate = None,
) -> None:
    """Serve voices by OpenAI's API: chat completions, completions, scores, rewrites and models, with streaming.

    The log goes to standard error, a JSON object a line. SIGTERM or Ctrl-C ends the server when what runs is answered;
    SIGHUP reads the voice files again, which also happens when they change.
    """
    _require_extra()
    from lmalgebra.serving import ServerSettings
    from lmalgebra.serving.run import serve as run
    from lmalgebra.settings_file import load

    changes: dict[str, Any] = given(
        voices=voices,
        host=host,
        port=port,
        keys_file=keys_file,
        without_keys=without_keys,
        origins=origins,
        allow=allow,
        playground=playground,
        judges=judges,
        max_running=max_running,
        max_waiting=max_waiting,
        max_tokens=max_tokens,
        max_cost=max_cost,
        log_prompts=log_prompts,
        speculate=speculate,
    )
    if settings is None and not voices:
        raise ServingError("No voice is given.", "Name a voice file, such as one that `lmalgebra new my.toml` makes.")
    chosen = load(ServerSettings, settings, changes, ServingError)
    run(chosen, _opener(chosen, places.given), say)


def _opener(settings: "ServerSettings", places: dict[str, str]) -> Any:
    """What gives a voice its models, each set of weights loaded once for all voices."""
    import logging

    from lmalgebra.api import Models

    models = Models(logging.getLogger("lmalgebra.serving").info)

    def opened(voice: "Voice") -> "ComposedVoice":
        from dataclasses import replace

        if places:
            moved = [each if each.is_remote else replace(each, **places) for each in voice.models]
            voice = voice.with_models(moved)
        return open_voice(voice, models, settings.max_running, settings.speculate)

    return opened


def _require_extra() -> None:
    """Raises MissingExtraError unless everything that serving needs is installed."""
    from importlib.util import find_spec

    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"Serving needs {', '.join(missing)}, which is not installed.",
            "Install it: pip install 'lmalgebra[serve]'.",
        )
