"""Tokens by what they say: under which names servers tell of them, and the text that a row of them is."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from lmalgebra.models.base import Tokenizer

_BYTE_PIECE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_NUMBER = re.compile(r"token_id:(\d+)")
_ESCAPED_BYTE = re.compile(r"\\x([0-9A-Fa-f]{2})")
_LOST = "\ufffd"  # stands for bytes that are no character


class TokenNames:
    """What each token of a vocabulary says, in bytes, and which token a name is of.

    Vocabularies are written in three ways: with a character for each byte (GPT-2 and its kin), with `▁` for a space and
    `<0x0A>` for a byte (SentencePiece), or as they are. Where several tokens say the same, a name is of the one that is
    no single byte, then of the one with the smallest id.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pieces = tokenizer.vocabulary
        spell = _speller(self._pieces)
        self._bytes = {token: spell(piece) for piece, token in self._pieces.items()}
        self._by_bytes: dict[bytes, int] = {}
        single = {token for piece, token in self._pieces.items() if _BYTE_PIECE.fullmatch(piece)}
        for token in sorted(self._bytes, key=lambda token: (token in single, token)):
            self._by_bytes.setdefault(self._bytes[token], token)
        self.size = max(self._bytes) + 1

    @cached_property
    def _start(self) -> list[int]:
        """The tokens that stand before every text; a server that reads text adds them itself."""
        return self._tokenizer.encode([""])

    def __contains__(self, token: int) -> bool:
        return token in self._bytes

    def says(self, token: int) -> bytes:
        """What a token says; a control token is spelled out."""
        return self._bytes[token]

    def of_bytes(self, spelled: bytes) -> int | None:
        """The token that says exactly these bytes."""
        return self._by_bytes.get(spelled)

    def of_name(self, name: str) -> int | None:
        """The token that a server calls so: by `token_id:7`, by `bytes:\\xf0\\x9f`, by its text or by its piece.

        None where no token is called so, or where the name has lost what the token says.
        """
        if number := _NUMBER.fullmatch(name):
            token = int(number[1])
            return token if token in self._bytes else None
        if name.startswith("bytes:") and (token := self.of_bytes(_unescaped(name[6:]))) is not None:
            return token
        if _LOST in name or not name:
            return None
        found = self.of_bytes(name.encode(errors="surrogatepass"))
        return self._pieces.get(name) if found is None else found

    def text(self, tokens: Sequence[int]) -> tuple[str, bool]:
        """The text that a server reads as `tokens`, and whether it does: it may split it otherwise, and a row may end
        inside a character.
        """
        start = self._start
        told = tokens[len(start) :] if start and list(tokens[: len(start)]) == start else tokens
        text = b"".join(self._bytes[token] for token in told).decode(errors="replace")
        for candidate in (text, text.removeprefix(" ")):  # SentencePiece puts a space before a text
            if self._tokenizer.encode([candidate]) == list(tokens):
                return candidate, True
        return text, False


def _speller(pieces: Mapping[str, int]) -> Callable[[str], bytes]:
    """How pieces of this vocabulary become bytes."""
    if sum("\u0120" in piece for piece in pieces) > sum("\u2581" in piece for piece in pieces):
        alphabet = _byte_alphabet()
        return lambda piece: _by_alphabet(piece, alphabet)
    return _by_sentencepiece


def _by_alphabet(piece: str, alphabet: Mapping[str, int]) -> bytes:
    if all(character in alphabet for character in piece):
        return bytes(alphabet[character] for character in piece)
    return piece.encode()  # a control token


def _by_sentencepiece(piece: str) -> bytes:
    if byte := _BYTE_PIECE.fullmatch(piece):
        return bytes([int(byte[1], 16)])
    return piece.replace("\u2581", " ").encode()


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's characters for bytes: those that can be printed stand for themselves, the others follow from 256 on."""
    printed = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _unescaped(text: str) -> bytes:
    """The bytes of a text in which some are written like \\xf0."""
    found, at = b"", 0
    for escaped in _ESCAPED_BYTE.finditer(text):
        found += text[at : escaped.start()].encode(errors="surrogatepass") + bytes([int(escaped[1], 16)])
        at = escaped.end()
    return found + text[at:].encode(errors="surrogatepass")
