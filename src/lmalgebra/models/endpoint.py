"""Rows of a remote: a model behind a server of OpenAI's completions protocol, as in IPA for GPT-3 (arXiv 2305.15065).

A row is a list of tokens here. Each position whose logits are wanted is one question to the server, which reads the
row's tokens up to there and tells the log-probabilities of the likeliest next ones; the questions of an extension are
asked at once. The server must give these before any temperature or truncation, as llama.cpp and vLLM do.

An approximation, unless the server tells of every token: the others take a share of what is left (see
`distributions.unseen`). The session counts how much of the probability it was told, in `seen`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import exp, log
from typing import Any

import torch
from torch import Tensor

from lmalgebra.algebra.adapter import Adapter, adapter_text
from lmalgebra.distributions import fill_unseen
from lmalgebra.errors import ModelError
from lmalgebra.models.base import Row, SeenMass
from lmalgebra.models.completions import Completion, read_completion
from lmalgebra.models.connection import ATTEMPTS, Connection
from lmalgebra.models.counted import CountedRow, CountedSession
from lmalgebra.models.rows import check_length, wanted_logits
from lmalgebra.models.token_names import TokenNames

QUESTIONS_AT_ONCE = 64
"""Positions that are asked for before their answers are turned into logits, which take more space."""

_STRONGEST_BIAS = 100
_PLAIN_TOKENS = (b"a", b"e", b"1", b".")


class Endpoint:
    """What a server is asked, and how: its model `served`, the `top_logprobs` likeliest tokens of each position.

    With `sends_ids`, prompts are sent as token ids, else as text, which the server splits into tokens itself; with
    `wants_ids`, it is asked to name tokens by their ids, which vLLM does.
    """

    def __init__(
        self,
        connection: Connection,
        names: TokenNames,
        served: str,
        top_logprobs: int,
        sends_ids: bool = False,
        wants_ids: bool = False,
    ) -> None:
        self.connection, self.names = connection, names
        self.served, self.top_logprobs = served, top_logprobs
        self.sends_ids, self.wants_ids = sends_ids, wants_ids
        self.reworded = 0
        """Rows so far that the server has read as other tokens, since it takes only text."""

    def ask(self, rows: Sequence[Sequence[int]], attempts: int = ATTEMPTS) -> list[Completion]:
        """What follows each of `rows`. Raises ModelError where the server does not say."""
        questions = [self._question(row) for row in rows]
        found = self._answers(questions, attempts)
        silent = [place for place, completion in enumerate(found) if not completion.tokens]
        if silent:  # some servers tell nothing of a token of their own that is an end, or a part of a character
            again = self._answers([questions[place] | self._bias() for place in silent], attempts)
            for place, completion in zip(silent, again, strict=True):
                found[place] = replace(completion, hides_end=found[place].ended)
        if not all(completion.tokens for completion in found):
            raise ModelError(
                f"The server at {self.connection.address} gives no log-probabilities with its completions.",
                "A term needs them: switch them on there, or use a server that gives them, as llama.cpp's and vLLM do.",
            )
        return found

    def _answers(self, questions: Sequence[dict[str, Any]], attempts: int) -> list[Completion]:
        answers = self.connection.post("/completions", questions, attempts)
        return [read_completion(answer, self.connection.address) for answer in answers]

    def _question(self, row: Sequence[int]) -> dict[str, Any]:
        question = {"prompt": self._prompt(row), "max_tokens": 1, "temperature": 0, "logprobs": self.top_logprobs}
        if self.served:
            question["model"] = self.served
        if self.wants_ids:
            question["return_tokens_as_token_ids"] = True
        return question

    def _prompt(self, row: Sequence[int]) -> list[int] | str:
        if self.sends_ids:
            return list(row)
        text, is_read_so = self.names.text(row)
        self.reworded += not is_read_so
        return text

    def _bias(self) -> dict[str, Any]:
        """Lets the server say a plain letter: it tells the same log-probabilities, and does so at all."""
        plain = next((token for each in _PLAIN_TOKENS if (token := self.names.of_bytes(each)) is not None), 0)
        return {"logit_bias": {str(plain): _STRONGEST_BIAS}}


class EndpointSession(CountedSession):
    """Rows over an `Endpoint`. `end` is the token that ends a text: where the server comes to an end and hides it, it
    is known to be the likeliest, and takes all that is left.
    """

    def __init__(self, endpoint: Endpoint, context_length: int, end: int | None = None) -> None:
        super().__init__(None)
        self._endpoint, self._end = endpoint, end
        self.context_length, self.vocabulary_size = context_length, endpoint.names.size
        self.device = torch.device("cpu")
        self._positions, self._mass, self._least = 0, 0.0, 1.0
        if endpoint.top_logprobs < self.vocabulary_size:
            self.notes = (
                f"The remote at {endpoint.connection.address} tells the {endpoint.top_logprobs} likeliest tokens of "
                "each position, and the others take a share of what is left: formulas over it are approximate. "
                "A larger top_logprobs tells more, and top_k keeps to the likeliest.",
            )

    @property
    def seen(self) -> SeenMass:
        mean = self._mass / self._positions if self._positions else 1.0
        return SeenMass(self._positions, mean, self._least, self._endpoint.reworded)

    def load_adapter(self, adapter: Adapter) -> None:
        raise ModelError(
            f"The adapter {adapter_text(adapter)} cannot be used: a remote's adapters are at its server.",
            "Name the model that the server has with the adapter in `served`.",
        )

    def _copy(self, original: CountedRow, twin: CountedRow) -> None: ...

    def _forget(self, row: CountedRow) -> None: ...

    def extend(self, tokens: Mapping[Row, Sequence[int]], wanted: Mapping[Row, int] | None = None) -> dict[Row, Tensor]:
        rows = {row: self._rows[row] for row in tokens}
        after = {row: [*held.tokens, *tokens[row]] for row, held in rows.items()}
        for row, held in after.items():
            check_length(len(held), self.context_length)
            self._check_vocabulary(tokens[row])
        counts = wanted_logits(tokens, wanted)
        prefixes = [after[row][: len(after[row]) - left] for row in after for left in reversed(range(counts[row]))]
        found = list(self._read(prefixes))
        for row, held in rows.items():
            held.tokens, held.read = after[row], len(after[row])
        logits = torch.stack(found) if found else torch.empty(0, self.vocabulary_size)
        return dict(zip(counts, logits.split(list(counts.values())), strict=True))

    def _check_vocabulary(self, tokens: Sequence[int]) -> None:
        if any(token not in self._endpoint.names for token in tokens):
            raise IndexError(f"a token is outside the vocabulary of {self.vocabulary_size:,}")

    def _read(self, prefixes: Sequence[Sequence[int]]) -> Iterator[Tensor]:
        """What follows each prefix, as logits."""
        for first in range(0, len(prefixes), QUESTIONS_AT_ONCE):
            yield from map(self._logits, self._endpoint.ask(prefixes[first : first + QUESTIONS_AT_ONCE]))

    def _logits(self, completion: Completion) -> Tensor:
        """Log-probabilities of all tokens, `[vocabulary]`; counts how much of the probability was told."""
        told = sorted(completion.tokens, key=lambda each: each.logprob, reverse=True)
        known: dict[int, float] = {}
        for each in told:
            if (token := each.found(self._endpoint.names)) is not None:
                known.setdefault(token, each.logprob)
        mass = min(1.0, sum(map(exp, known.values())))
        self._positions, self._mass, self._least = self._positions + 1, self._mass + mass, min(self._least, mass)
        if completion.hides_end and self._end is not None:
            known.setdefault(self._end, log(max([1 - mass, *map(exp, known.values())])))
        least = told[: self._endpoint.top_logprobs][-1].logprob  # past these may be the server's own token
        return fill_unseen(known, exp(least), self.vocabulary_size)
