"""A prompt while it is read: one row for each term, and which tokens each has left to read."""

from collections.abc import Iterator

from torch import Tensor

from lmalgebra.algebra import Term
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.request import Request
from lmalgebra.decoding.sample import GrowingSample
from lmalgebra.errors import DecodingError
from lmalgebra.models.base import Row


class Prompt:
    """A request's prompt; its rows are what the request's samples are forked from.

    `contexts` are what the terms read. Raises PromptError when one leaves no room to speak, DecodingError for a bias to
    a token that there is not.
    """

    def __init__(self, loaded: LoadedFormula, request: Request) -> None:
        self.loaded, self.request = loaded, request
        _require_tokens(request, loaded.vocabulary_size)
        self.contexts = loaded.contexts(request.messages)
        self.most = loaded.most_tokens(self.contexts, request.settings.max_new_tokens)
        self.rows: dict[Term, Row] = {}
        self.read: dict[Term, int] = {}
        self.scores: dict[Term, Tensor] = {}
        self.started = 0

    @property
    def left(self) -> int:
        """Tokens that are not read yet, over all terms."""
        return sum(len(self.contexts[leaf]) - self.read[leaf] for leaf in self.rows)

    @property
    def unstarted(self) -> int:
        """Samples that are still to be started."""
        return self.request.settings.samples - self.started

    def room(self, leaf: Term) -> int:
        """The most tokens that a row of this prompt will hold."""
        return min(len(self.contexts[leaf]) + self.most - 1, self.loaded.sessions[leaf].context_length)

    def chunks(self, budget: int) -> Iterator[tuple[Term, list[int]]]:
        """The next tokens of the terms, at most `budget` in all."""
        for leaf, context in self.contexts.items():
            chunk = context[self.read[leaf] : self.read[leaf] + budget]
            if chunk:
                budget -= len(chunk)
                yield leaf, chunk

    def took(self, leaf: Term, count: int, logits: Tensor) -> None:
        """The leaf's row has read `count` more tokens, of which the last gave `logits` `[1, vocabulary]`."""
        self.read[leaf] += count
        if self.read[leaf] == len(self.contexts[leaf]):
            self.scores[leaf] = logits[:, : self.loaded.vocabulary_size].to(self.loaded.device, copy=True)

    def forked_rows(self) -> dict[Term, Row]:
        """Forks of all its rows. Raises CacheFullError, with none made, when there is no room."""
        forked: dict[Term, Row] = {}
        try:
            for leaf, row in self.rows.items():
                forked[leaf] = self.loaded.sessions[leaf].fork(row, room=self.room(leaf))
        except BaseException:
            for leaf, row in forked.items():
                self.loaded.sessions[leaf].close(row)
            raise
        return forked

    def sample(self, rows: dict[Term, Row]) -> GrowingSample:
        """The prompt's next sample, over `rows`."""
        number = self.started
        self.started += 1
        return GrowingSample(self.loaded, self.request, number, rows, self.contexts, self.scores)

    def sample_of_own_rows(self) -> GrowingSample:
        """The prompt's next sample, which takes the prompt's rows: to start more, it must be read again."""
        sample = self.sample(self.rows)
        self.rows, self.read, self.scores = {}, {}, {}
        return sample

    def close(self) -> None:
        """Give its rows back; it may be read again."""
        for leaf, row in self.rows.items():
            self.loaded.sessions[leaf].close(row)
        self.rows, self.read, self.scores = {}, {}, {}


def _require_tokens(request: Request, vocabulary_size: int) -> None:
    """Raises DecodingError where the settings name a token that the formula has not."""
    unknown = [token for token, _ in request.settings.logit_bias if token >= vocabulary_size]
    if unknown:
        raise DecodingError(
            f"logit_bias names the token {unknown[0]}, and the vocabulary has {vocabulary_size:,}.",
            f"Give ids from 0 to {vocabulary_size - 1}.",
        )
