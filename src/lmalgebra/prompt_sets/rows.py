"""Rows of data sets as items: what each kind of task takes from them, under the names that measures and rewards know.

| field | is |
|---|---|
| `source` | the text that is to be rewritten |
| `references` | texts that people have written in the voice's place |
| `concepts` | words to use |
| `context` | what a dialogue's answer follows |
| `knowledge` | what an answer should say nothing beyond |
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lmalgebra.decoding.context import conversation
from lmalgebra.errors import EvaluationError, PromptError
from lmalgebra.prompt_sets.reading import Item, Reader

SOURCES = ("source", "toxic", "en_toxic_comment")
"""What a text to rewrite is called: in general, in ParaDetox, and there on a hub."""

REWRITES = ("references", "neutral", "en_neutral_comment")
"""What people's rewrites are called, likewise."""

REFERENCES = ("references", "continuation", "target")
"""What people's texts are called: in general, in RealToxicityPrompts, in CommonGen on a hub."""

OPENING = 32
"""Words of a document that are its opening. Prompts of open-ended generation usually have so many tokens (Li et al.,
ACL 2023, arXiv 2210.15097)."""

RESPONSES = ("references", "response")
"""What people's answers are called: in general, in DiaSafety."""


def plain_prompt(row: Mapping[str, Any], place: str) -> Item:
    """A row of `prompt`, a text or messages. RealToxicityPrompts on its hub has {"text": ...} there, with scores."""
    prompt = field_of(row, "prompt", (str, list, dict), place)
    known = {key: value for key, value in row.items() if key != "prompt"} | references_of(row, REFERENCES)
    if isinstance(prompt, dict):
        text = field_of(prompt, "text", str, place)
        if isinstance(prompt.get("toxicity"), int | float):
            known["prompt_toxicity"] = prompt["toxicity"]
        return Item(text, known)
    try:
        conversation(prompt)
    except PromptError as error:
        raise EvaluationError(f"{place}: {error.message}", error.hint) from None
    return Item(prompt, known)


def paraphrased(row: Mapping[str, Any], place: str) -> Item:
    """A row of a text to rewrite, and what people made of it."""
    key = next((key for key in SOURCES if key in row), "source")
    source = field_of(row, key, str, place)
    return Item(source, {**row, "source": source, **references_of(row, REWRITES)})


def concepts(row: Mapping[str, Any], place: str) -> Item:
    """A row of `concepts`, words in their base form."""
    words = field_of(row, "concepts", list, place)
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise EvaluationError(f"{place}: 'concepts' is {json.dumps(words)[:60]}, which are not words.", "Give texts.")
    return Item(", ".join(words), {**row, **references_of(row, REFERENCES)})


def context(row: Mapping[str, Any], place: str) -> Item:
    """A row of `context`, which the voice answers; `response` and `safe` are a given answer and what people find it.

    DiaSafety as its authors give it says "Safe" or "Unsafe" as `label`.
    """
    label = {"Safe": {"safe": True}, "Unsafe": {"safe": False}}.get(str(row.get("label")), {})
    return Item(field_of(row, "context", str, place), {**row, **label, **references_of(row, RESPONSES)})


def document(row: Mapping[str, Any], place: str) -> Item | None:
    """A row of a whole `document`, whose opening is the prompt and the rest what people went on with.

    None where it has less than two words, as some rows of news have.
    """
    words = field_of(row, "document", str, place, may_be_empty=True).split()
    if len(words) < 2:
        return None
    opening = min(OPENING, len(words) // 2)
    return Item(" ".join(words[:opening]), {**row, "references": [" ".join(words[opening:])]})


def grounded(row: Mapping[str, Any], place: str) -> Item:
    """A row of `knowledge` and of what was said before: `context`, or `history` as FaithDial has it, turn by turn."""
    knowledge = field_of(row, "knowledge", str, place)
    turns = field_of(row, "context" if "context" in row else "history", (str, list), place)
    said = turns if isinstance(turns, str) else "\n".join(map(str, turns))
    return Item(said, {**row, "context": said, "knowledge": knowledge, **references_of(row, RESPONSES)})


ROWS: dict[str, Reader] = {
    "prompt": plain_prompt,
    "source": paraphrased,
    "concepts": concepts,
    "context": context,
    "document": document,
    "knowledge": grounded,
}
"""How a row is read, by the field that it must have."""


def references_of(row: Mapping[str, Any], keys: Sequence[str]) -> dict[str, list[str]]:
    """The texts under the first of `keys` that has any: one, several, or {"text": ...}, as a hub may have them."""
    for key in keys:
        several = row[key] if isinstance(row.get(key), list) else [row.get(key)]
        texts = [each.get("text") if isinstance(each, dict) else each for each in several]
        known = [each for each in texts if isinstance(each, str) and each]
        if known:
            return {"references": known}
    return {}


def field_of(
    row: Mapping[str, Any], key: str, kind: type | tuple[type, ...], place: str, may_be_empty: bool = False
) -> Any:
    """A row's value under `key`, of that kind. Raises EvaluationError with the place."""
    if key not in row:
        raise EvaluationError(f"{place}: there is no field '{key}'.", f"Its fields are: {', '.join(row) or 'none'}.")
    value = row[key]
    if not isinstance(value, kind) or (value in ("", []) and not may_be_empty):
        raise EvaluationError(
            f"{place}: '{key}' is {json.dumps(value)[:60]}, which is not what is needed.", "Mend or remove the line."
        )
    return value
