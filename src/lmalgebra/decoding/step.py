"""One step of many samples: each lets a stage judge what is drafted and draw a token of its own.

For samples whose stages are alike, in this order: 1. the formula's log-probabilities at every position that is
judged, and the one after; 2. penalty, temperature and truncation, which give the *law* of each position; 3. how many
drafted tokens are kept; 4. the token drawn after them.

A drafted token that was drawn from a law of its own is kept with probability min(1, target / draft), else redrawn from
the positive part of target - draft (Leviathan et al. 2023, arXiv 2211.17192; Chen et al. 2023, arXiv 2302.01318). One
that was only proposed, by copying or greedily, is kept when the target's own draw is that token: the same law, and the
text is what it would be without drafts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from lmalgebra.algebra import Formula, Term
from lmalgebra.decoding.biases import Text, add_biases
from lmalgebra.decoding.plan import Plan
from lmalgebra.decoding.request import Likeliest
from lmalgebra.decoding.sample import GrowingSample
from lmalgebra.distributions import (
    Truncation,
    accept_probability,
    add_to_tokens,
    draw,
    forbid,
    penalise_counts,
    penalise_repeats,
    residual,
)
from lmalgebra.errors import DecodingError
from lmalgebra.models.base import Session


@dataclass(eq=False)
class Act:
    """What one sample does in a step: `stage` of its chain acts, over positions from `start`."""

    sample: GrowingSample
    stage: int

    def __post_init__(self) -> None:
        self.start = self.sample.reached[self.stage]
        self.drafted = self.sample.tokens[self.start :]

    @property
    def plan(self) -> Plan:
        plan = self.sample.chain.stages[self.stage].plan
        assert plan is not None
        return plan

    @property
    def name(self) -> str:
        return self.sample.chain.stages[self.stage].name

    @property
    def drafter(self) -> str:
        """The stage before, whose tokens it judges."""
        return self.sample.chain.stages[self.stage - 1].name

    @property
    def sessions(self) -> set[Session]:
        """What its plan's language models speak by."""
        return {self.sample.loaded.sessions[leaf] for leaf in self.plan.speakers}

    @property
    def needs_no_pass(self) -> bool:
        """Whether all scores are known: those for the first token come with the prompt."""
        return not any(self.sample.unread(leaf) for leaf in self.plan.speakers)

    @property
    def is_last(self) -> bool:
        return self.stage == len(self.sample.chain.stages) - 1

    @property
    def rows(self) -> int:
        """Positions that the stage evaluates: those drafted, and the next."""
        return len(self.drafted) + 1

    @property
    def draft_laws(self) -> list[Tensor]:
        """The laws that the drafted tokens were drawn from; empty when they were only proposed."""
        laws = self.sample.laws[self.start - self.sample.said :][: len(self.drafted)]
        return [law for law in laws if law is not None]

    def source(self, position: int) -> np.random.Generator:
        """The random numbers with which this stage draws at `position`."""
        randomness = self.sample.randomness
        return randomness.at(position) if self.is_last else randomness.drafting()


Place = tuple[Act, int]
"""A position that an act judges, counted from where it starts."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of an act: how many drafted tokens are kept, the token after them, and the log-probability (nats)
    of each under the stage; `kept` is the sum of the probabilities with which the `tested` ones were kept. `likeliest`
    are the likeliest tokens at the place of each, where the whole formula judged and they were asked for.
    """

    act: Act
    accepted: int
    token: int
    logprobs: list[float]
    laws: Tensor
    kept: float
    tested: int
    likeliest: tuple[Likeliest, ...] = ()


def evaluate(acts: Sequence[Act], fresh: Mapping[tuple[GrowingSample, Term], Tensor]) -> dict[Term, Tensor]:
    """The scores of the plan's language models at every position of `acts`, which share it, `[rows, vocabulary]`.

    `fresh` holds the logits that the rows have just given, where they have. The vocabulary ends with that of the leaf
    that has the fewest tokens.
    """
    scores = {}
    for leaf in acts[0].plan.speakers:
        parts = [act.sample.scores(leaf, fresh.get((act.sample, leaf)), act.start) for act in acts]
        scores[leaf] = parts[0] if len(parts) == 1 else torch.cat(parts)
    size = min(score.shape[-1] for score in scores.values())
    return {leaf: score[:, :size] for leaf, score in scores.items()}


@torch.inference_mode()
def judge(acts: Sequence[Act], scores: Mapping[Term, Tensor]) -> list[Verdict]:
    """The verdicts on `acts`, which share a plan; `scores` are those of its language models.

    Raises DecodingError when the whole formula leaves no token, and what its other terms raise.
    """
    texts = [Text(act.sample.states, act.sample.tokens, act.start) for act in acts]
    known = add_biases(acts[0].sample.loaded, acts[0].plan, scores, texts)
    rows = [(act, i) for act in acts for i in range(act.rows)]
    impossible: dict[Place, DecodingError] = {}
    logprobs = _padded(_logprobs(acts[0].plan, known, rows, impossible), acts[0].sample.loaded.vocabulary_size)
    laws = _laws(rows, logprobs, impossible)
    if not acts[0].is_last:
        impossible = {}  # any law may draft
    for act in acts:
        if (act, 0) in impossible:
            raise impossible[act, 0]
    compared = [act for act in acts if not act.draft_laws]
    verdicts: dict[Act, tuple[int, int, float, int]] = {}
    offsets = dict(zip(acts, _offsets(acts), strict=True))
    if compared:
        verdicts |= _compare(compared, laws, offsets)
    weighed = [act for act in acts if act.draft_laws]
    if weighed:
        verdicts |= _weigh(weighed, laws, offsets)
    if impossible:
        verdicts = {act: _before_impossible(act, impossible, verdict) for act, verdict in verdicts.items()}
    chosen_rows = [offsets[act] + i for act in acts for i in range(verdicts[act][0] + 1)]
    tokens = [token for act in acts for token in (*act.drafted[: verdicts[act][0]], verdicts[act][1])]
    chosen = logprobs[chosen_rows, tokens].tolist()
    likeliest = _likeliest(acts, logprobs, chosen_rows)
    found, first = [], 0
    for act in acts:
        accepted, token, kept, tested = verdicts[act]
        mine, its = laws[offsets[act] : offsets[act] + accepted + 1], slice(first, first + accepted + 1)
        wanted = act.sample.settings.top_logprobs
        told = tuple(each[:wanted] for each in likeliest[its]) if wanted else ()
        found.append(Verdict(act, accepted, token, chosen[its], mine, kept, tested, told))
        first += accepted + 1
    return found


def _likeliest(acts: Sequence[Act], logprobs: Tensor, rows: Sequence[int]) -> list[Likeliest]:
    """The likeliest tokens in each of `rows`, as many as any of `acts` asks for; those that cannot be are left out."""
    most = max(act.sample.settings.top_logprobs for act in acts) if acts[0].is_last else 0
    if not most:
        return []
    best = logprobs[rows].topk(min(most, logprobs.shape[-1]))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return [tuple((token, nats) for token, nats in zip(*each, strict=True) if nats > -inf) for each in pairs]


def _offsets(acts: Sequence[Act]) -> Iterator[int]:
    first = 0
    for act in acts:
        yield first
        first += act.rows


def _before_impossible(
    act: Act, impossible: Mapping[Place, DecodingError], verdict: tuple[int, int, float, int]
) -> tuple[int, int, float, int]:
    """The verdict, ended before a position that has no token: a text that stops there never asks for one."""
    accepted, _, kept, tested = verdict
    first = next((i for i in range(accepted + 1) if (act, i) in impossible), None)
    return verdict if first is None else (first - 1, act.drafted[first - 1], kept, tested)


def _logprobs(
    plan: Plan, scores: Mapping[Formula, Tensor], rows: Sequence[Place], impossible: dict[Place, DecodingError]
) -> Tensor:
    """The plan's log-probabilities. Rows that have none are uniform and added to `impossible`: after a token that is
    drafted and never said, a formula need not have any."""
    positions = [act.start + i for act, i in rows]
    try:
        return plan.logprobs(scores, positions)
    except DecodingError:
        pass
    found = []
    for index, row in enumerate(rows):
        mine = {leaf: each[index : index + 1] for leaf, each in scores.items()}
        try:
            found.append(plan.logprobs(mine, [positions[index]]))
        except DecodingError as error:
            impossible[row] = error
            found.append(torch.zeros_like(next(iter(mine.values()))).log_softmax(-1))
    return torch.cat(found)


def _padded(logprobs: Tensor, vocabulary_size: int) -> Tensor:
    """The models that draft may lack the formula's last tokens, which they then never draft."""
    missing = vocabulary_size - logprobs.shape[-1]
    return pad(logprobs, (0, missing), value=-inf) if missing else logprobs


def _laws(rows: Sequence[Place], logprobs: Tensor, impossible: dict[Place, DecodingError]) -> Tensor:
    """What tokens are drawn from at each row: log-probabilities, or for greedy samples what decides the likeliest."""
    order = sorted(range(len(rows)), key=lambda row: rows[row][0].sample.draw_key())
    groups = [sorted(group) for _, group in groupby(order, key=lambda row: rows[row][0].sample.draw_key())]
    if len(groups) == 1:
        return _laws_alike(rows, logprobs, impossible)
    laws = torch.empty_like(logprobs)
    for group in groups:
        laws[group] = _laws_alike([rows[row] for row in group], logprobs[group], impossible)
    return laws


def _laws_alike(rows: Sequence[Place], logprobs: Tensor, impossible: dict[Place, DecodingError]) -> Tensor:
    """The laws of `rows`, which share their settings."""
    settings = rows[0][0].sample.settings
    weights = logprobs
    if settings.repetition_penalty != 1:
        seen = [act.sample.tokens[: act.start + i] for act, i in rows]
        weights = penalise_repeats(weights, seen, settings.repetition_penalty)
    if settings.presence_penalty or settings.frequency_penalty:
        said = [act.sample.tokens[: act.start + i] for act, i in rows]
        weights = penalise_counts(weights, said, settings.presence_penalty, settings.frequency_penalty)
    weights = add_to_tokens(weights, settings.logit_bias)
    early = [act.start + i < act.sample.settings.min_new_tokens for act, i in rows]
    if any(early):
        weights = forbid(weights, early, rows[0][0].sample.loaded.ends)
        stuck = weights.amax(-1).isneginf()
        if stuck.any():
            for row in stuck.nonzero().flatten().tolist():
                impossible[rows[row]] = _only_the_end(rows[row][0].sample.settings.min_new_tokens)
            weights = weights.masked_fill(stuck[:, None], 0.0)
    if settings.temperature == 0:
        return weights
    truncation = Truncation(settings.temperature, settings.top_k, settings.top_p, settings.min_p)
    return weights if weights is logprobs and truncation == Truncation() else truncation(weights)


def _only_the_end(min_new_tokens: int) -> DecodingError:
    return DecodingError(
        f"No token is possible but the end, before min_new_tokens={min_new_tokens}.",
        "Lower min_new_tokens, or loosen what the formula forbids.",
    )


def _draw(rows: Sequence[Place], laws: Tensor) -> list[int]:
    """A token for each row of `laws`, whose place is the one beside it; greedy samples take the likeliest."""
    greedy = [act.sample.settings.temperature == 0 for act, _ in rows]
    if all(greedy):
        return laws.argmax(-1).tolist()
    tokens = draw(laws, [act.source(act.start + i) for act, i in rows])
    if any(greedy):
        tokens = torch.where(torch.tensor(greedy, device=laws.device), laws.argmax(-1), tokens)
    return tokens.tolist()


def _compare(acts: Sequence[Act], laws: Tensor, offsets: Mapping[Act, int]) -> dict[Act, tuple[int, int, float, int]]:
    """Proposed tokens are kept as long as the stage's own draws are the same."""
    rows = [(act, i) for act in acts for i in range(act.rows)]
    picked = [offsets[act] + i for act, i in rows]
    mine = laws if len(picked) == len(laws) else laws[picked]
    drawn = iter(_draw(rows, mine))
    found = {}
    for act in acts:
        own = [next(drawn) for _ in range(act.rows)]
        same = 0
        while same < len(act.drafted) and own[same] == act.drafted[same]:
            same += 1
        found[act] = same, own[same], float(same), min(same + 1, len(act.drafted))
    return found


def _weigh(acts: Sequence[Act], laws: Tensor, offsets: Mapping[Act, int]) -> dict[Act, tuple[int, int, float, int]]:
    """Drawn tokens are kept with probability min(1, target / draft); after a rejection the residual is drawn from."""
    rows = [offsets[act] + i for act in acts for i in range(len(act.drafted))]
    drafts = torch.stack([law for act in acts for law in act.draft_laws])
    tokens = torch.tensor([token for act in acts for token in act.drafted], device=laws.device)
    probabilities = iter(accept_probability(laws[rows], drafts, tokens).tolist())
    finals, kept, first = [], {}, 0
    for act in acts:
        mine = [next(probabilities) for _ in act.drafted]
        accepted = 0
        while accepted < len(mine) and act.sample.randomness.keeps(mine[accepted]):
            accepted += 1
        final = laws[offsets[act] + accepted]
        tested = min(accepted + 1, len(mine))
        if accepted < len(mine):
            final = residual(final[None], drafts[first + accepted][None])[0]
        finals.append(final)
        kept[act] = accepted, sum(mine[:tested]), tested
        first += len(mine)
    sources = [act.source(act.start + kept[act][0]) for act in acts]
    drawn = draw(torch.stack(finals), sources).tolist()
    return {act: (kept[act][0], token, *kept[act][1:]) for act, token in zip(acts, drawn, strict=True)}
