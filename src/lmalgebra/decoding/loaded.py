"""A formula whose models are loaded: what all requests that speak by it share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from lmalgebra.algebra import Bias, Formula, ModelTerm, Term
from lmalgebra.algebra.adapter import Adapter
from lmalgebra.decoding.context import Conversation, context_tokens
from lmalgebra.decoding.evidence import Evidence
from lmalgebra.decoding.plan import Plan
from lmalgebra.decoding.speculation import Speculation
from lmalgebra.decoding.steering import Steering
from lmalgebra.errors import PromptError, VoiceError
from lmalgebra.models.base import LanguageModel, Row, Scorer, Session

OpenScorer = Callable[[Bias, LanguageModel, frozenset[int]], Scorer]
"""Makes a classifier or a constraint; it reads the tokens of that model, and a text ends with one of these tokens."""


class Home(NamedTuple):
    """What besides its tokens decides what a row has computed: rows of one home can copy from each other."""

    session: Session
    adapter: Adapter | None


class LoadedFormula:
    """`plan` with what each of its leaves is when loaded, and the leaves of `draft`, a formula that drafts for it.

    `models` are the language models; `open_scorer` makes the other terms. `speculate` is described in `stages`.
    Raises DecodingError when it names what is not there, and what opening raises.
    """

    def __init__(
        self,
        plan: Plan,
        models: Mapping[Term, LanguageModel],
        speculate: str = "off",
        draft: Plan | None = None,
        open_scorer: OpenScorer | None = None,
    ) -> None:
        self.plan = plan
        self.models = dict(models)
        self.sessions: dict[Term, Session] = {leaf: model.session for leaf, model in self.models.items()}
        self.homes = {leaf: Home(session, _adapter(leaf)) for leaf, session in self.sessions.items()}
        self.tokenizer = self.models[plan.speakers[0]].tokenizer
        self.device = self.sessions[plan.speakers[0]].device
        self.vocabulary_size = min(self.sessions[leaf].vocabulary_size for leaf in plan.speakers)
        self.ends = frozenset[int]().union(*(self.models[leaf].tokenizer.end_tokens for leaf in plan.speakers))
        biases = dict.fromkeys((*plan.biases, *(() if draft is None else draft.biases)))
        self.scorers = {leaf: self._scorer(leaf, open_scorer) for leaf in biases}
        rules = dict.fromkeys((*plan.rules, *(() if draft is None else draft.rules)))
        self.steerings = {rule: Steering(rule, self._scorer(rule.gauge, open_scorer)) for rule in rules}
        self.evidences = (*plan.evidences, *(() if draft is None else draft.evidences))
        self.speculation = Speculation(plan, draft, speculate, self._groups())
        needed = {*plan.speakers, *self.speculation.leaves}
        self.leaves = tuple(leaf for leaf in self.models if leaf in needed)

    def begin_states(self, messages: Conversation, most: int) -> dict[Formula, Any]:
        """What the terms that are no language models, the rules of steering and the evidences remember of a new text
        of at most so many tokens."""
        states: dict[Formula, Any] = {part: each.begin(messages, most) for part, each in self._remembering()}
        return states | {evidence: Evidence() for evidence in self.evidences}

    def end_states(self, states: Mapping[Formula, Any]) -> None:
        """They forget it."""
        for part, each in self._remembering():
            if part in states:
                each.end(states[part])

    def _remembering(self) -> Iterator[tuple[Formula, Scorer | Steering]]:
        yield from self.scorers.items()
        yield from self.steerings.items()

    def load_adapters(self) -> None:
        """Have the leaves' adapters ready, so that no step waits for them. Raises ModelError for one that cannot be."""
        for session, adapter in dict.fromkeys(self.homes.values()):
            if adapter is not None:
                session.load_adapter(adapter)

    def open(self, leaf: Term, room: int = 0) -> Row:
        """A new row for `leaf`, as `Session.open` does it."""
        session, adapter = self.homes[leaf]
        return session.open(adapter=adapter, room=room)

    def contexts(self, messages: Conversation) -> dict[Term, list[int]]:
        """What each leaf reads, in tokens; a leaf that only drafts and cannot read it is left out.

        Raises PromptError when a leaf of the formula has no room to speak.
        """
        found = {leaf: context_tokens(leaf, self.models[leaf], messages) for leaf in self.plan.speakers}
        for leaf in self.leaves:
            if leaf not in found:
                with suppress(PromptError):
                    found[leaf] = context_tokens(leaf, self.models[leaf], messages)
        return found

    def most_tokens(self, contexts: Mapping[Term, Sequence[int]], wanted: int) -> int:
        """How many of the `wanted` tokens can be said after `contexts`: the last one need not be read."""
        return min([wanted, *(self._left(leaf, contexts) for leaf in self.plan.speakers)])

    def can_draft(self, contexts: Mapping[Term, Sequence[int]], tokens: int) -> bool:
        """Whether the leaves that only draft can follow so many tokens after `contexts`."""
        return all(leaf in contexts and self._left(leaf, contexts) >= tokens for leaf in self.leaves)

    def _left(self, leaf: Term, contexts: Mapping[Term, Sequence[int]]) -> int:
        return self.sessions[leaf].context_length - len(contexts[leaf]) + 1

    def _scorer(self, leaf: Term, open_scorer: OpenScorer | None) -> Scorer:
        if open_scorer is None:
            raise VoiceError(f"Nothing here can open the term `{leaf.name}`.", "Make the voice with lmalgebra.voice.")
        assert isinstance(leaf.description, Bias)
        return open_scorer(leaf.description, self.models[self.plan.speakers[0]], self.ends)

    def _groups(self) -> list[list[Term]]:
        """The formula's leaves by their session."""
        groups: dict[int, list[Term]] = {}
        for leaf in self.plan.speakers:
            groups.setdefault(id(self.sessions[leaf]), []).append(leaf)
        return list(groups.values())

    def distinct_sessions(self) -> Iterator[Session]:
        """Each session once."""
        return iter(dict.fromkeys(self.sessions[leaf] for leaf in self.leaves))


def _adapter(leaf: Term) -> Adapter | None:
    return leaf.description.adapter if isinstance(leaf.description, ModelTerm) else None
