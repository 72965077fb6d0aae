"""The state of one sample: what it has said, what is drafted, and what each of its rows has read.

Positions count the tokens that a sample says, from 0. Its *items* are the last token of the prompt and then its
tokens: a row that has read `n` items has scores for the positions before `n`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmalgebra.algebra import GenerationSettings, Term
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.prompt_lookup import PromptLookup
from lmalgebra.decoding.request import Event, Likeliest, Piece, Request, Sample
from lmalgebra.decoding.stages import Chain
from lmalgebra.decoding.text import GrowingText
from lmalgebra.models.base import Row


class Randomness:
    """A sample's own random numbers, decided by its seed and conversation and by nothing around it.

    Each position has numbers of its own, so that drafts that the whole formula only compares with its own draw leave
    the text as it is; all else that drafting needs comes from a second source.
    """

    def __init__(self, seed: int, conversation: object) -> None:
        digest = hashlib.sha256(f"{seed}:{conversation}".encode()).digest()
        self._key, other = (int.from_bytes(half, "little") for half in (digest[:16], digest[16:]))
        self._drafts = np.random.Generator(np.random.Philox(key=other))

    def at(self, position: int) -> np.random.Generator:
        """The source with which the token at `position` is drawn; the same numbers at each call."""
        return np.random.Generator(np.random.Philox(key=self._key, counter=position << 128))

    def drafting(self) -> np.random.Generator:
        """The source with which drafts are drawn; it goes on from call to call."""
        return self._drafts

    def keeps(self, probability: float) -> bool:
        """Whether a draft is kept, which it is with so much probability."""
        return self._drafts.random() < probability


class GrowingSample:
    """A sample in progress.

    `tokens` are those said and then those drafted; the first `said` are final. `reached[k]` counts the tokens that
    stage `k` of the chain has drawn or judged, and `laws` holds, for each drafted token, the distribution from which
    it was drawn `[vocabulary]`, or None for one that is simply proposed. `known` keeps the scores of a leaf for the
    positions from `said` on, `[positions, vocabulary]`, up to a constant for each row; `states` is what the terms
    that are no language models remember of it.
    """

    def __init__(
        self,
        loaded: LoadedFormula,
        request: Request,
        number: int,
        rows: Mapping[Term, Row],
        contexts: Mapping[Term, Sequence[int]],
        scores: Mapping[Term, Tensor],
    ) -> None:
        self.loaded, self.request, self.number = loaded, request, number
        self.seed = request.settings.seed + number
        self.rows, self.contexts = dict(rows), contexts
        self.randomness = Randomness(self.seed, request.messages)
        self.text = GrowingText(loaded.tokenizer.stream(), request.settings.stop)
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.likeliest: list[Likeliest] = []
        self._told = 0
        self.said = 0
        self.most = loaded.most_tokens(contexts, request.settings.max_new_tokens)
        self.states = loaded.begin_states(request.messages, self.most)
        self._can_draft = loaded.can_draft(contexts, self.most)
        self.known = dict(scores)
        self._read = dict.fromkeys(rows, 1)
        self.reached: list[int] = []
        self.laws: list[Tensor | None] = []
        self._lookup: PromptLookup | None = None

    @property
    def settings(self) -> GenerationSettings:
        return self.request.settings

    def begin(self, chain: Chain) -> None:
        """Go on by `chain`, or without drafts where its leaves cannot follow; nothing is drafted yet."""
        self.chain = chain if self._can_draft else chain.plain
        self.reached = [self.said] * len(self.chain.stages)

    @property
    def between(self) -> bool:
        """Whether nothing is drafted, so that another chain may begin."""
        return len(self.tokens) == self.said

    def due(self) -> int:
        """The stage that acts next: the last one that has enough drafted tokens before it, else the first."""
        reached = self.reached
        for stage in range(len(reached) - 1, 0, -1):
            if reached[stage - 1] - reached[stage] >= self.chain.lookaheads[stage - 1]:
                return stage
        if self._no_more_drafts():
            waiting = [stage for stage in range(1, len(reached)) if reached[stage - 1] > reached[stage]]
            return waiting[0] if waiting else len(reached) - 1
        return 0

    def next_stage(self) -> int:
        """The stage that acts next, after copying from the context where that comes first."""
        stage = self.due()
        if stage == 0 and self.chain.copies:
            self.copy_from_context()
            return 1
        return stage

    def _no_more_drafts(self) -> bool:
        """Drafting further is useless: the whole formula adds a token itself, and nothing follows an end."""
        ended = not self.between and self.tokens[-1] in self.loaded.ends
        return ended or len(self.tokens) >= self.most - 1

    def copy_from_context(self) -> None:
        """Draft what followed when the context said the same before, if it did."""
        if self._lookup is None:
            self._lookup = PromptLookup(self.contexts[self.loaded.plan.speakers[0]])
            self._lookup.extend(self.tokens[: self.said])
        room = min(self.chain.lookaheads[0], self.most - 1 - len(self.tokens))
        found = self._lookup.propose(room, self.tokens[self.said :])
        self.tokens += found
        self.laws += [None] * len(found)
        self.reached[0] = len(self.tokens)
        self.loaded.speculation.copied(bool(found))

    def unread(self, leaf: Term) -> list[int]:
        """The items that the leaf's row has not read; the first was read with the prompt.

        A leaf that only drafts may lack a token of the formula: it reads its own last one instead.
        """
        last = self.loaded.sessions[leaf].vocabulary_size - 1
        return [min(token, last) for token in self.tokens[self._read[leaf] - 1 :]]

    def wanted(self, leaf: Term) -> int:
        """How many of the last unread items' scores are of positions not said yet."""
        return len(self.tokens) + 1 - max(self._read[leaf], self.said)

    def has_read(self, leaf: Term) -> None:
        """The leaf's row has read everything there is."""
        self._read[leaf] = len(self.tokens) + 1

    def scores(self, leaf: Term, fresh: Tensor | None, start: int) -> Tensor:
        """The leaf's scores for the positions from `start` on: what was known and the `fresh` ones, which later stages
        may need too."""
        is_kept = len(self.chain.stages) > 1
        if is_kept and fresh is not None:
            fresh = fresh.clone()  # the session's next pass may write there
        parts = [part for part in (self.known.get(leaf), fresh) if part is not None and len(part)]
        found = parts[0] if len(parts) == 1 else torch.cat(parts)
        if is_kept:
            self.known[leaf] = found
        return found[start - self.said :]

    def take(self, stage: int, accepted: int, token: int, laws: Sequence[Tensor | None]) -> None:
        """`stage` accepted so many of the tokens it judged and drew `token` after them; drafts beyond are forgotten.

        `laws` are the distributions of these tokens under the stage.
        """
        start = self.reached[stage]
        end = start + accepted
        is_last = stage == len(self.reached) - 1
        added = [token] if is_last or end + 1 < self.most else []  # no draft where only the whole formula may add one
        self.laws = [*self.laws[: start - self.said], *laws][: end + len(added) - self.said]
        self.tokens = [*self.tokens[:end], *added]
        self.reached[: stage + 1] = [len(self.tokens)] * (stage + 1)
        for leaf, row in self.rows.items():
            if self._read[leaf] > end + 1:
                self.loaded.sessions[leaf].rewind(row, len(self.contexts[leaf]) + end)
                self._read[leaf] = end + 1
            if leaf in self.known:
                self.known[leaf] = self.known[leaf][: end + 1 - self.said]

    def say(self, logprobs: Sequence[float], likeliest: Sequence[Likeliest] = ()) -> list[Event]:
        """Everything drafted is final: the text that is new and, if this is the end, the sample.

        `logprobs` and, where they were asked for, the `likeliest` tokens are those of what is drafted.
        """
        fresh = self.tokens[self.said :]
        pieces, reason = "", ""
        for count, token in enumerate(fresh, self.said + 1):
            piece, reason = self._tell(token, count)
            pieces += piece
            if reason:
                break
        self.logprobs += logprobs[: count - self.said]
        self.likeliest += likeliest[: count - self.said]
        del self.tokens[count:]
        self.said = count
        self.laws, self.known = [], {}
        if self._lookup is not None:
            self._lookup.extend(fresh)
        events: list[Event] = [self._piece(pieces)] if pieces else []
        return [*events, self._finished(reason)] if reason else events

    def _piece(self, text: str) -> Piece:
        """What is new, with the tokens that were not told before."""
        new = slice(self._told, self.said)
        self._told = self.said
        told = (tuple(self.tokens[new]), tuple(self.logprobs[new]), tuple(self.likeliest[new]))
        return Piece(self.request.index, self.number, text, *told)

    def _tell(self, token: int, count: int) -> tuple[str, str]:
        """The text that the token adds, and why it is the last one, if it is."""
        if token in self.loaded.ends:
            return self.text.finish(), "end"
        piece = self.text.push(token)
        if self.text.stopped:
            return piece, "stop"
        if count == self.most:
            return piece + self.text.finish(), "length"
        return piece, ""

    def _finished(self, reason: str) -> Sample:
        return Sample(
            self.request.messages,
            self.text.text,
            tuple(self.tokens),
            tuple(self.logprobs),
            reason,
            self.seed,
            self.request.index,
            self.number,
            tuple(self.likeliest),
        )

    def forget_states(self) -> None:
        """Let the terms that are no language models forget it."""
        self.loaded.end_states(self.states)
        self.states = {}

    def close(self) -> None:
        """Give its rows back."""
        self.forget_states()
        for leaf, row in self.rows.items():
            self.loaded.sessions[leaf].close(row)

    def draw_key(self) -> tuple[Any, ...]:
        """What samples must have in common to be drawn together."""
        its = self.settings
        penalties = (its.repetition_penalty, its.presence_penalty, its.frequency_penalty)
        return (its.temperature, its.top_k or 0, its.top_p, its.min_p, *penalties, its.logit_bias)
