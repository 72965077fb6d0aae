"""A vocabulary as text: what characters each token adds, worked out once for all tokens.

Bytes that are no UTF-8 count as the character that decoding puts there, which is no letter. A character may be cut
between tokens: the bytes at the end of a text that do not make one yet are its `rest`.
"""

import codecs
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np

from lmalgebra.models.base import Tokenizer
from lmalgebra.models.constraints.characters import kind, normalised


def read(data: bytes) -> tuple[str, bytes]:
    """The normalised text of bytes, and those at the end that do not make a character yet."""
    if data.isascii():
        return data.decode().lower(), b""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(data)
    return normalised(text), decoder.getstate()[0]


@lru_cache(maxsize=4)
def vocabulary_text(tokenizer: Tokenizer, size: int, ends: frozenset[int]) -> "VocabularyText":
    """The tokens below `size` as text; made once for each vocabulary. `ends` say nothing."""
    return VocabularyText([b"" if token in ends else tokenizer.piece(token) for token in range(size)])


class VocabularyText:
    """The text of tokens whose bytes are `pieces`.

    `rests` are the rests that tokens leave after whole characters, the empty one first, and `rest[token]` says which.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = tuple(pieces)
        texts, rests = zip(*map(read, self.pieces), strict=True) if pieces else ((), ())
        self.rests = tuple(dict.fromkeys((b"", *rests)))
        numbers = {rest: number for number, rest in enumerate(self.rests)}
        self.rest = np.array([numbers[rest] for rest in rests], np.int32)
        lengths = np.array([len(text) for text in texts])
        self.order = np.argsort(-lengths, kind="stable")
        """Tokens, those with the longest texts first."""
        characters = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
        codes, self._places = np.unique(characters, return_inverse=True)
        self.characters = [chr(code) for code in codes]
        starts = np.concatenate(([0], np.cumsum(lengths)[:-1])) if len(lengths) else lengths
        counts = [int((lengths > column).sum()) for column in range(int(lengths.max(initial=0)))]
        self._columns = [starts[self.order[:count]] + column for column, count in enumerate(counts)]

    @cached_property
    def kinds(self) -> np.ndarray:
        """The kind of each of `characters`."""
        return np.array([kind(each) for each in self.characters], np.int32)

    @cached_property
    def known(self) -> frozenset[bytes]:
        """All pieces."""
        return frozenset(self.pieces)

    @cached_property
    def longest(self) -> int:
        """Bytes of the longest piece."""
        return max(map(len, self.pieces), default=0)

    @cached_property
    def silent(self) -> np.ndarray:
        """Tokens that say nothing."""
        return np.array([token for token, piece in enumerate(self.pieces) if not piece], np.int64)

    @cached_property
    def going_on(self) -> tuple[int, ...]:
        """Tokens whose first byte can go on with a character that was begun."""
        return tuple(token for token, piece in enumerate(self.pieces) if piece and 0x80 <= piece[0] < 0xC0)

    def single_characters(self) -> list[tuple[int, str]]:
        """The tokens that are one character each, and the character."""
        count = len(self._columns[1]) if len(self._columns) > 1 else 0
        shorter = self.order[count : len(self._columns[0])] if self._columns else []
        return [
            (int(token), self.characters[self._places[place]])
            for token, place in zip(shorter, self._columns[0][count:], strict=True)
            if not self.rest[token]
        ]

    def columns(self, symbols: dict[str, int]) -> list[np.ndarray]:
        """The symbols of the tokens' first characters in `order`, then of their second, and so on, while there are
        any; a character that `symbols` does not have is its kind."""
        table = self.kinds.copy()
        for place, character in enumerate(self.characters):
            table[place] = symbols.get(character, table[place])
        spelled = table[self._places]
        return [spelled[places] for places in self._columns]
