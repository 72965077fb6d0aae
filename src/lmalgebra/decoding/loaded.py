"""A formula whose models are loaded: what all requests that speak by it share."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from lmalgebra.algebra import ModelTerm, Term
from lmalgebra.algebra.adapter import Adapter
from lmalgebra.decoding.context import Conversation, context_tokens
from lmalgebra.decoding.plan import Plan
from lmalgebra.decoding.speculation import Speculation
from lmalgebra.errors import PromptError
from lmalgebra.models.base import LanguageModel, Row, Session


class Home(NamedTuple):
    """What besides its tokens decides what a row has computed: rows of one home can copy from each other."""

    session: Session
    adapter: Adapter | None


class LoadedFormula:
    """`plan` with the model of each of its leaves, and of the leaves of `draft`, a formula that drafts for it.

    `speculate` is described in `stages`. Raises DecodingError when it names what is not there.
    """

    def __init__(
        self, plan: Plan, models: Mapping[Term, LanguageModel], speculate: str = "off", draft: Plan | None = None
    ) -> None:
        self.plan = plan
        self.models = dict(models)
        self.sessions: dict[Term, Session] = {leaf: model.session for leaf, model in self.models.items()}
        self.homes = {leaf: Home(session, _adapter(leaf)) for leaf, session in self.sessions.items()}
        self.tokenizer = self.models[plan.leaves[0]].tokenizer
        self.device = self.sessions[plan.leaves[0]].device
        self.vocabulary_size = min(self.sessions[leaf].vocabulary_size for leaf in plan.leaves)
        self.ends = frozenset[int]().union(*(self.models[leaf].tokenizer.end_tokens for leaf in plan.leaves))
        self.speculation = Speculation(plan, draft, speculate, self._groups())
        needed = {*plan.leaves, *self.speculation.leaves}
        self.leaves = tuple(leaf for leaf in self.models if leaf in needed)

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
        found = {leaf: context_tokens(leaf, self.models[leaf], messages) for leaf in self.plan.leaves}
        for leaf in self.leaves:
            if leaf not in found:
                with suppress(PromptError):
                    found[leaf] = context_tokens(leaf, self.models[leaf], messages)
        return found

    def most_tokens(self, contexts: Mapping[Term, Sequence[int]], wanted: int) -> int:
        """How many of the `wanted` tokens can be said after `contexts`: the last one need not be read."""
        return min([wanted, *(self._left(leaf, contexts) for leaf in self.plan.leaves)])

    def can_draft(self, contexts: Mapping[Term, Sequence[int]], tokens: int) -> bool:
        """Whether the leaves that only draft can follow so many tokens after `contexts`."""
        return all(leaf in contexts and self._left(leaf, contexts) >= tokens for leaf in self.leaves)

    def _left(self, leaf: Term, contexts: Mapping[Term, Sequence[int]]) -> int:
        return self.sessions[leaf].context_length - len(contexts[leaf]) + 1

    def _groups(self) -> list[list[Term]]:
        """The formula's leaves by their session."""
        groups: dict[int, list[Term]] = {}
        for leaf in self.plan.leaves:
            groups.setdefault(id(self.sessions[leaf]), []).append(leaf)
        return list(groups.values())

    def distinct_sessions(self) -> Iterator[Session]:
        """Each session once."""
        return iter(dict.fromkeys(self.sessions[leaf] for leaf in self.leaves))


def _adapter(leaf: Term) -> Adapter | None:
    return leaf.description.adapter if isinstance(leaf.description, ModelTerm) else None
