"""The bytes of each token of a Hugging Face tokenizer, read off its decoder.

Two families are known: byte-level tokenizers (GPT-2, Llama 3, Qwen, SmolLM), which write each byte as a character of
its own, and those after SentencePiece (Llama 2, Mistral, Gemma), which write a space as ▁ and a byte as <0x0A>.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from transformers import PreTrainedTokenizerBase
from transformers.convert_slow_tokenizer import bytes_to_unicode

from lmalgebra.errors import ModelError

_BYTE = re.compile("<0x([0-9A-F]{2})>")
_SPACE = "\u2581"


def pieces(tokenizer: PreTrainedTokenizerBase, source: str) -> dict[int, bytes]:
    """What each token says, in bytes; nothing for control tokens.

    Raises ModelError for a tokenizer of another family; `source` names it.
    """
    decoder = json.loads(tokenizer.backend_tokenizer.decoder.__getstate__())
    spelled = _speller(list(_steps(decoder)))
    if spelled is None:
        raise ModelError(
            f"The tokenizer of '{source}' does not say which bytes a token has, which a constraint needs to know.",
            "Use a model with a byte-level or SentencePiece tokenizer.",
        )
    found = {token: spelled(piece) for piece, token in tokenizer.get_vocab().items()}
    added: Mapping[int, Any] = tokenizer.added_tokens_decoder
    return found | {token: b"" if each.special else each.content.encode() for token, each in added.items()}


def _steps(decoder: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The steps of a decoder, one after another."""
    inner = decoder.get("decoders")
    if inner is None:
        yield decoder
    else:
        for each in inner:
            yield from _steps(each)


def _speller(steps: list[dict[str, Any]]) -> Callable[[str], bytes] | None:
    """From a token's piece to its bytes, or None for a decoder that is not known."""
    kinds = {step["type"] for step in steps}
    if "ByteLevel" in kinds:
        bytes_of = {character: bytes([byte]) for byte, character in bytes_to_unicode().items()}
        return lambda piece: b"".join(bytes_of.get(each, each.encode()) for each in piece)
    writes_spaces = "Metaspace" in kinds or any(
        step["type"] == "Replace" and step["pattern"] == {"String": _SPACE} and step["content"] == " " for step in steps
    )
    if not writes_spaces:
        return None
    has_bytes = "ByteFallback" in kinds

    def spelled(piece: str) -> bytes:
        byte = _BYTE.fullmatch(piece) if has_bytes else None
        return bytes([int(byte[1], 16)]) if byte else piece.replace(_SPACE, " ").encode()

    return spelled
