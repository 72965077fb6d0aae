"""A decoder-only classifier as a term: it reads the formula's own tokens, and each text only once.

A text is a row of the classifier's session; its candidates are alternatives that one pass reads for all texts, without
a copy of the row. So a step costs the classifier one new token and the candidates, however long the text is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lmalgebra.alike import common_length
from lmalgebra.errors import CacheFullError, DecodingError, PromptError
from lmalgebra.models.base import Ahead, Asked, Message, Quoted, Row, Scorer, Session
from lmalgebra.models.sequence_classifier import SequenceClassifier


@dataclass(eq=False)
class Reading:
    """What is remembered of a text: the tokens `before` it, its row, and the tokens of it that the row holds."""

    before: list[int]
    row: Row | None = None
    tokens: list[int] = field(default_factory=list)


class CausalClassifier(Scorer):
    """Scores by the logits of `classifier`'s labels that `session` gives after each token.

    `log_probabilities` turns calibrated logits `[..., labels]` into log C `[...]`.
    """

    def __init__(
        self,
        session: Session,
        classifier: SequenceClassifier,
        log_probabilities: Callable[[Tensor], Tensor],
        ends: frozenset[int],
        reads_all: bool = False,
    ) -> None:
        self._session, self._classifier, self._ends = session, classifier, ends
        self._log_probabilities, self._reads_all = log_probabilities, reads_all
        self._value_of_nothing: Tensor | None = None
        self.notes = session.notes

    def begin(self, messages: Sequence[Message], most: int | None = None) -> Reading:
        """The conversation may fill half of the context; of a longer one the end is read."""
        said = "\n".join(message["content"] for message in messages) if self._reads_all else ""
        before = self._classifier.as_tokenizer.encode([Quoted(said)])
        room = self._session.context_length // 2
        return Reading(before[-room:])

    def end(self, state: Reading) -> None:
        if state.row is not None:
            self._session.close(state.row)
            state.row = None

    def scores(self, asked: Sequence[Asked]) -> list[Tensor]:
        candidates = [_candidates(each) for each in asked]
        found = self._read(asked, [[[*filter(self._weighs, tokens)] for tokens in each] for each in candidates])
        return [self._scores(*pair) for pair in zip(asked, found, strict=True)]

    def levels(self, asked: Sequence[Asked]) -> list[Tensor]:
        nothing_more = [[[] for _ in range(each.first, len(each.tokens) + 1)] for each in asked]
        found = self._read(asked, nothing_more)
        return [self._so_far(ahead, len(lists)).double() for ahead, lists in zip(found, nothing_more, strict=True)]

    def _read(self, asked: Sequence[Asked], alternatives: Sequence[list[list[int]]]) -> list[Ahead]:
        """Read each text up to its end, and its alternatives at each position that is asked for."""
        unread: dict[Row, list[int]] = {}
        nexts: dict[Row, list[list[int]]] = {}
        try:
            for each, lists in zip(asked, alternatives, strict=True):
                row = self._rewound(each)
                unread[row] = [*each.state.before, *each.tokens][self._session.length(row) :]
                nexts[row] = lists
            if any(each.first == 0 and not each.state.before for each in asked):
                self._know_nothing()
            found = self._session.look_ahead(unread, nexts)
        except CacheFullError as error:
            raise CacheFullError(f"The classifier '{self._classifier.source}': {error.message}", error.hint) from error
        except PromptError as error:
            raise DecodingError(
                f"The text is longer than the {self._session.context_length:,} tokens that the classifier "
                f"'{self._classifier.source}' can read.",
                "Generate fewer tokens, or let it read the answer only.",
            ) from error
        for each in asked:
            each.state.tokens = list(each.tokens)
        return [found[each.state.row] for each in asked]

    def _rewound(self, asked: Asked) -> Row:
        """The text's row, cut to what it has in common with the text as it is now, and to before the first position
        whose logits are wanted."""
        state: Reading = asked.state
        if state.row is None:
            state.row = self._session.open()
        common = common_length(state.tokens, list(asked.tokens))
        kept = max(
            0, min(len(state.before) + common, len(state.before) + asked.first - 1, self._session.length(state.row))
        )
        self._session.rewind(state.row, kept)
        return state.row

    def _weighs(self, token: int) -> bool:
        """Whether a candidate adds something to weigh."""
        return token >= 0 and token not in self._ends

    def _scores(self, asked: Asked, found: Ahead) -> Tensor:
        """How much each candidate adds, `[positions, candidates]`."""
        assert asked.candidates is not None
        before = self._so_far(found, len(asked.candidates))
        weighed = torch.tensor(
            [[self._weighs(token) for token in tokens] for tokens in _candidates(asked)], dtype=torch.bool
        )
        added = torch.zeros(asked.candidates.shape, dtype=before.dtype, device=before.device)
        added = added.masked_scatter(weighed.to(before.device), self._log_c(found.nexts))
        return torch.where(weighed.to(before.device), added - before[:, None], 0.0)

    def _so_far(self, found: Ahead, positions: int) -> Tensor:
        """The log-probability of the text at each position, `[positions]`."""
        values = self._log_c(found.after)
        if len(values) == positions:
            return values
        assert self._value_of_nothing is not None
        return torch.cat([self._value_of_nothing.to(values), values])

    def _log_c(self, logits: Tensor) -> Tensor:
        return self._log_probabilities(logits / self._classifier.temperature)

    def _know_nothing(self) -> None:
        """Have the log-probability of the empty text, `[1]`, which a row of no tokens does not give."""
        if self._value_of_nothing is not None:
            return
        row = self._session.open()
        try:
            self._value_of_nothing = self._log_c(self._session.extend({row: [self._classifier.nothing]})[row])
        finally:
            self._session.close(row)


def _candidates(asked: Asked) -> list[list[int]]:
    assert asked.candidates is not None
    found: list[list[int]] = asked.candidates.tolist()
    return found
