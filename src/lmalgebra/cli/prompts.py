"""Where prompts come from: an option, standard input, or JSON Lines."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from lmalgebra.errors import PromptError
from lmalgebra.json_lines import file_lines, parsed

if TYPE_CHECKING:
    from lmalgebra.decoding.composed import Prompt

STANDARD_INPUT = "-"
_LINE_HINT = 'A line is a JSON text, {"prompt": "..."} or {"messages": [...]}.'


def read_prompts(prompt: str | None, prompts: str | None) -> "Iterable[Prompt]":
    """The prompts that `--prompt` or `--prompts` name.

    A file is read whole, so that a bad line is found before anything is said; standard input is read as it comes.
    Raises PromptError, with file and line number, for whatever is no prompt.
    """
    if prompt is not None and prompts is not None:
        raise PromptError("Both --prompt and --prompts were given.", "Keep one of them.")
    if prompt is not None:
        return [_whole_input() if prompt == STANDARD_INPUT else checked(prompt)]
    if prompts is None:
        raise PromptError("There is no prompt.", "Add --prompt TEXT, or --prompts FILE.jsonl.")
    if prompts == STANDARD_INPUT:
        return parsed_lines(_input_lines(), "standard input")
    return list(parsed_lines(file_lines(prompts, "prompts", PromptError), prompts))


def parsed_lines(lines: Iterable[bytes], origin: str) -> "Iterator[Prompt]":
    """The prompt of each line of JSON Lines; blank lines are skipped. Raises PromptError, also when all are blank."""
    found = False
    for place, value in parsed(lines, origin, PromptError, _LINE_HINT):
        try:
            prompt = checked(_prompt_of(value))
        except PromptError as error:
            raise PromptError(f"{place}: {error.message}", error.hint) from None
        found = True
        yield prompt
    if not found:
        raise PromptError(f"{origin} holds no prompt.", _LINE_HINT)


def checked(prompt: "str | Sequence[Any]") -> "Prompt":
    """`prompt` itself, if a voice can answer it. Raises PromptError."""
    from lmalgebra.decoding.context import conversation

    if not isinstance(prompt, str) and not all(isinstance(message, dict) for message in prompt):
        raise PromptError("The messages are not all objects.", 'Write {"role": "user", "content": "..."}.')
    for message in conversation(prompt):
        try:
            message["content"].encode()
        except UnicodeEncodeError:
            raise PromptError("The prompt holds half a character (a lone surrogate).", "Mend its encoding.") from None
    return prompt


def _prompt_of(value: Any) -> Any:
    """The prompt in a line's value. Keys besides `prompt` and `messages` are left alone: data sets carry many."""
    if isinstance(value, str):
        return value
    keys = [key for key in ("prompt", "messages") if key in value] if isinstance(value, dict) else []
    if len(keys) != 1:
        what = "has both prompt and messages" if keys else "has no prompt"
        raise PromptError(f"The line {what}.", _LINE_HINT)
    found = value[keys[0]]
    # Under "prompt" a conversation is taken too, since that is how results are written.
    if isinstance(found, list) or (isinstance(found, str) and keys == ["prompt"]):
        return found
    raise PromptError(f"The line's {keys[0]} is neither text nor messages.", _LINE_HINT)


def _whole_input() -> "Prompt":
    try:
        return checked(sys.stdin.buffer.read().decode("utf-8-sig").rstrip("\r\n"))
    except UnicodeDecodeError:
        raise PromptError("Standard input is not UTF-8 text.", "Convert it to UTF-8.") from None


def _input_lines() -> Iterator[bytes]:
    return iter(sys.stdin.buffer.readline, b"")
