"""Rows of data sets as items: what each suite takes from them, under the names that measures know.

| field | is |
|---|---|
| `source` | the text that is to be rewritten |
| `references` | texts that people have written in the voice's place |
| `concepts` | words to use |
"""

import json
from collections.abc import Mapping
from typing import Any

from lmalgebra.decoding.context import conversation
from lmalgebra.errors import EvaluationError, PromptError
from lmalgebra.evaluation.prompts import Item


def plain_prompt(row: Mapping[str, Any], place: str) -> Item:
    """A row of `prompt`, a text or messages. RealToxicityPrompts on its hub has {"text": ...} there, with scores."""
    prompt = field_of(row, "prompt", (str, list, dict), place)
    known = {key: value for key, value in row.items() if key != "prompt"} | references_of(row, "references")
    if "references" not in known:
        known |= references_of(row, "continuation")
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
    """A row of `source`, or `toxic` as ParaDetox has it, with the `references` or `neutral` rewrites of people."""
    source = field_of(row, "source" if "source" in row else "toxic", str, place)
    references = references_of(row, "references" if "references" in row else "neutral")
    return Item(source, {**row, "source": source, **references})


def concepts(row: Mapping[str, Any], place: str) -> Item:
    """A row of `concepts`, words in their base form."""
    words = field_of(row, "concepts", list, place)
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise EvaluationError(f"{place}: 'concepts' is {json.dumps(words)[:60]}, which are not words.", "Give texts.")
    return Item(", ".join(words), row)


def context(row: Mapping[str, Any], place: str) -> Item:
    """A row of `context`, which the voice answers; `response` and `safe` are a given answer and what people find it."""
    return Item(field_of(row, "context", str, place), row)


def references_of(row: Mapping[str, Any], key: str) -> dict[str, list[str]]:
    """The texts under `key`: one, several, or {"text": ...}, as RealToxicityPrompts has continuations on its hub."""
    value = row.get(key)
    several = value if isinstance(value, list) else [value]
    texts = [each.get("text") if isinstance(each, dict) else each for each in several]
    known = [each for each in texts if isinstance(each, str) and each]
    return {"references": known} if known else {}


def field_of(row: Mapping[str, Any], key: str, kind: type | tuple[type, ...], place: str) -> Any:
    """A row's value under `key`, of that kind. Raises EvaluationError with the place."""
    if key not in row:
        raise EvaluationError(f"{place}: there is no field '{key}'.", f"Its fields are: {', '.join(row) or 'none'}.")
    value = row[key]
    if not isinstance(value, kind) or value in ("", []):
        raise EvaluationError(
            f"{place}: '{key}' is {json.dumps(value)[:60]}, which is not what is needed.", "Mend or remove the line."
        )
    return value
