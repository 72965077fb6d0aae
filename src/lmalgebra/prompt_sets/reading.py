"""Prompts from JSON Lines or a data set of a hub, with what is known of each."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lmalgebra.decoding.composed import Prompt
from lmalgebra.decoding.context import conversation
from lmalgebra.errors import EvaluationError, MissingExtraError
from lmalgebra.json_lines import file_lines, parsed
from lmalgebra.judges.template import Template
from lmalgebra.models.fingerprint import digest

HUB = "hub:"
"""How the name of a hub's data set begins: hub:owner/name, hub:owner/name@revision or hub:owner/name:split; of one with
several configurations, hub:owner/name/configuration."""

_HINT = 'A line is an object such as {"prompt": "..."}.'


@dataclass(frozen=True)
class Item:
    """A prompt, and the other `fields` of its line: scores of the prompt, references, words to use ..."""

    prompt: Prompt
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The same for the same prompt, wherever it stands."""
        return digest(self.prompt)


@dataclass(frozen=True)
class PromptSet:
    """Prompts and where they are from.

    `revision` is the digest of all that was read, or the hub's commit; `draw` is the seed by which some of them were
    drawn, None for all; `template` made them of rows where it is not empty.
    """

    source: str
    revision: str
    items: tuple[Item, ...]
    draw: int | None = None
    template: str = ""

    def sample(self, count: int | None, seed: int = 0) -> "PromptSet":
        """`count` of them drawn by `seed`, in their own order; all for None.

        A smaller draw by the same seed is a part of a larger one, so that an evaluation can grow.
        """
        if count is None or count >= len(self.items):
            return self
        if count < 1:
            raise EvaluationError(f"{count} prompts leave nothing to evaluate.", "Give a whole number of at least 1.")
        places = np.random.default_rng(seed).permutation(len(self.items))[:count]
        return replace(self, items=tuple(self.items[place] for place in sorted(places)), draw=seed)


Reader = Callable[[Mapping[str, Any], str], Item | None]
"""Makes an item of a row and its place in words; None of a row that holds no prompt."""


def load_prompts(source: str, read: Reader, template: str = "") -> PromptSet:
    """The prompts of a file or `hub:` data set, each once, as `read` makes them of rows.

    A `template` says what is asked: Jinja over `prompt`, which is what `read` gives, and the item's other fields.
    Raises EvaluationError.
    """
    revision, rows = read_rows(source)
    items = [item for place, row in rows if (item := read(row, place)) is not None]
    if template:
        filled = Template(template)
        items = [Item(filled.fill({**item.fields, "prompt": item.prompt}), item.fields) for item in items]
    return PromptSet(source, revision, unique(items), template=template)


def read_rows(source: str) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """The revision of a file or `hub:` data set, and each row after its place in words. Raises EvaluationError."""
    if source.startswith(HUB):
        return _hub_rows(source)
    lines = file_lines(source, "prompts", EvaluationError)
    rows = []
    for place, value in parsed(lines, source, EvaluationError, _HINT):
        row = {"prompt": value} if isinstance(value, str) else value
        if not isinstance(row, dict):
            raise EvaluationError(f"{place}: this is neither a text nor an object.", _HINT)
        rows.append((place, row))
    if not rows:
        raise EvaluationError(f"{source} holds no prompt.", _HINT)
    return hashlib.sha256(b"\n".join(lines)).hexdigest(), rows


def _hub_rows(source: str) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    name, _, split = source.removeprefix(HUB).partition(":")
    name, _, revision = name.partition("@")
    owner, *parts = name.split("/", 2)
    named = ["/".join([owner, *parts[:1]]), *parts[1:]]  # and its configuration, where it has several
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(
            f"{source} needs the package 'datasets'.", "Install it: pip install 'lmalgebra[evaluate]'."
        ) from None
    try:
        found = datasets.load_dataset(*named, revision=revision or None, split=split or "train")
    except Exception as error:  # of many libraries beneath
        reason = " ".join(str(error).split())[:200]
        raise EvaluationError(
            f"The data set '{source}' cannot be had: {reason}.", "Check its name and the network, or name a file."
        ) from error
    files = sorted(getattr(found.info, "download_checksums", None) or ())  # their addresses name the commit
    version = revision or (digest(files) if files else "unknown")
    return version, [(f"{source}, row {number}", dict(row)) for number, row in enumerate(found, 1)]


def unique(items: Sequence[Item]) -> tuple[Item, ...]:
    """Each prompt once: two equal ones would be one draw counted twice."""
    found: dict[str, Item] = {}
    for item in items:
        found.setdefault(item.id, item)
    return tuple(found.values())


def text_of(prompt: Prompt) -> str:
    """A prompt as plain text: what is said in a conversation, line by line."""
    return "\n".join(message["content"] for message in conversation(prompt))
