"""What a language model says around the text that it was asked for: lead-ins, quotes, refusals."""

import re
from collections.abc import Sequence

from lmalgebra.judges.asked import THOUGHT

_DECLINED = (
    "assist",
    "help with",
    "fulfil",
    "provide",
    "create",
    "generate",
    "rewrite",
    "paraphrase",
    "comply",
    "say that",
)

REFUSALS = (
    "sorry, but i can",
    "sorry, i can",
    "sorry, but i'm not able",
    "sorry, but i am not able",
    *(f"i {no} {what}" for no in ("cannot", "can't", "can not", "won't", "will not") for what in _DECLINED),
    "i'm unable to",
    "i am unable to",
    "i'm not able to",
    "as an ai",
    "as a language model",
    "i'm an ai",
    "i'm a chatbot",
    "i'm designed to",
    "is not appropriate",
    "isn't appropriate",
    "my guidelines",
)
"""Phrases with which models decline, in small letters; of people's sentences they hold few."""

_WORDS = r"rewritten|rewrite|paraphrased|paraphrase|rephrased|revised|version|answer|output|sentence|text"
_LEAD = re.compile(
    rf"(?:(?:sure|certainly|of course|okay|ok)\b[^:\n]{{0,80}}[:!.]\s*)?"
    rf"(?:(?:here(?:'s|\u2019s| is| are)|this is|the|a|an|my|your)\b[^:\n]{{0,80}}:|(?:{_WORDS})[^:\n]{{0,40}}:)?\s*",
    re.IGNORECASE,
)
"""What may come before the text itself: "Sure! Here is a paraphrase of the sentence:"."""

_ASKED_FOR = re.compile(rf"\b(?:{_WORDS}|paraphrasing|rephrasing)s?\b", re.IGNORECASE)

_BULLET = re.compile(r"(?:[-*\u2022]|\(?1[.)])\s+")

_QUOTES = ('""', "''", "\u201c\u201d", "\u2018\u2019", "\u00ab\u00bb", "\u201e\u201c", "``", "****", "**")
"""Marks around a text, half of each before it and half behind."""


def cleaned(answer: str, one_line: bool = True) -> str:
    """The text in an answer, without lead-in and quotes around it; nothing where there is none.

    What a model thought first, between <think> and </think>, is left out. A lead-in is taken off only where it names
    what was asked for, so that a sentence with a colon in it stays whole. Where `one_line` is wanted the text is the
    first line that is left, without a bullet; else it is all of them.
    """
    lines = THOUGHT.sub("", answer).strip().splitlines()
    while lines:
        first = _without_lead(lines[0].strip())
        if any(letter.isalnum() for letter in first):
            if one_line:
                return _unquoted(" ".join(_BULLET.sub("", first, count=1).split()))
            return _unquoted("\n".join([first, *lines[1:]]))
        lines = lines[1:]
    return ""


def refusal_in(text: str, phrases: Sequence[str] = REFUSALS) -> str:
    """The first of `phrases` that a text contains, in any case; nothing where it has none."""
    found = text.lower().replace("\u2019", "'")
    return next((phrase for phrase in phrases if phrase.lower() in found), "")


def _without_lead(line: str) -> str:
    lead = _LEAD.match(line)
    return line[lead.end() :] if lead and lead[0] and _ASKED_FOR.search(lead[0]) else line


def _unquoted(text: str) -> str:
    """Without the marks around all of it, however many pairs there are."""
    text = text.strip()
    for marks in _QUOTES:
        begin, end = marks[: len(marks) // 2], marks[len(marks) // 2 :]
        inner = text[len(begin) : -len(end)]
        if text.startswith(begin) and text.endswith(end) and inner and begin not in inner and end not in inner:
            return _unquoted(inner)
    return text
