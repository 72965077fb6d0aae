"""What an explanation holds for whoever reads it: the text token by token, in plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmalgebra.algebra import Term
from lmalgebra.decoding.context import conversation
from lmalgebra.decoding.explain import Explainer, Movement
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.parts import Parts
from lmalgebra.decoding.plan import Plan
from lmalgebra.decoding.reading import BATCH_TOKENS, BLOCK
from lmalgebra.errors import DecodingError
from lmalgebra.models.base import Message, Tokenizer


@dataclass(frozen=True)
class Alternative:
    """A token that the reference finds likely, and its probability."""

    token: int
    text: str
    probability: float


@dataclass(frozen=True)
class ExplainedToken:
    """One token: what it adds to the text, and what moved it.

    `text` is empty where a token adds nothing yet; `name` is never empty. `logprob` is the formula's and
    `reference_logprob` the reference's, in nats; `parts` are the other terms' by name, and add up to their difference.
    `reference_rank` is 1 where it is the reference's likeliest; `reference_top` is what that would have said instead.
    """

    token: int
    text: str
    name: str
    logprob: float
    reference_logprob: float
    parts: Mapping[str, float]
    reference_rank: int
    reference_top: tuple[Alternative, ...]

    @property
    def change(self) -> float:
        """How far the formula moved the token from the reference, in nats."""
        return self.logprob - self.reference_logprob


@dataclass(frozen=True)
class Explanation:
    """A text after `prompt`, and what moved each of its tokens.

    `method` is "shapley", or "in order" where there are too many terms for it. `sampling` is what a generated text was
    drawn with, which is no part of the explanation; None for a text that was given.
    """

    prompt: str | Sequence[Message]
    formula: str
    reference: str
    terms: tuple[str, ...]
    method: str
    tokens: tuple[ExplainedToken, ...]
    sampling: Mapping[str, Any] | None = None

    @property
    def text(self) -> str:
        """Everything that the tokens add up to."""
        return "".join(token.text for token in self.tokens)

    def totals(self) -> dict[str, float]:
        """Each term's parts over all tokens, in nats."""
        return {term: sum(token.parts[term] for token in self.tokens) for term in self.terms}

    def to_json(self) -> dict[str, Any]:
        """Plain dictionaries, lists, texts and numbers; the keys stay as they are from version to version."""
        return {
            "prompt": self.prompt if isinstance(self.prompt, str) else list(self.prompt),
            "text": self.text,
            "formula": self.formula,
            "reference": self.reference,
            "terms": list(self.terms),
            "method": self.method,
            "sampling": None if self.sampling is None else _plain_settings(self.sampling),
            "tokens": [_plain(token) for token in self.tokens],
        }


def chosen_reference(plan: Plan, name: str | None) -> Term:
    """The language model of the formula that is called `name`, or the first one that has an effect.

    Raises DecodingError for a name that is none.
    """
    leaves = {leaf.name: leaf for leaf in plan.formula.leaves()}
    speakers = [leaf.name for leaf in leaves.values() if leaf in plan.speakers]
    if name is None:
        return leaves[speakers[0]]
    if name in speakers:
        return leaves[name]
    hint = f"Language models of the formula: {', '.join(speakers)}."
    if name not in leaves:
        raise DecodingError(f"The reference `{name}` is not a term of `{plan.formula}`.", hint)
    if leaves[name] in plan.biases:
        raise DecodingError(f"`{name}` is not a language model, so it cannot be the reference.", hint)
    raise DecodingError(f"The reference `{name}` has no effect in `{plan.formula}`: its weight cancels.", hint)


def explain_in_parts(
    loaded: LoadedFormula,
    prompt: str | Sequence[Message],
    tokens: Sequence[int],
    max_new_tokens: int,
    reference: str | None = None,
    sampling: Mapping[str, Any] | None = None,
    block: int = BLOCK,
    chunk: int = BATCH_TOKENS,
) -> Parts[Explanation]:
    """What moved each of `tokens`, said after `prompt`; see Explanation, and for parts `Explainer.explain_in_parts`.

    `max_new_tokens` is as in `read_texts`. Raises DecodingError for a reference that is none, or where the formula has
    no token, and PromptError for a text that does not fit.
    """
    explainer = Explainer(loaded, chosen_reference(loaded.plan, reference))
    moved = yield from explainer.explain_in_parts(conversation(prompt), tokens, max_new_tokens, block, chunk)
    return Explanation(
        prompt,
        str(loaded.plan.formula),
        explainer.reference.name,
        tuple(term.name for term in explainer.others),
        explainer.method,
        _explained(loaded, explainer, moved),
        sampling,
    )


def _explained(loaded: LoadedFormula, explainer: Explainer, moved: Sequence[Movement]) -> tuple[ExplainedToken, ...]:
    """What moved a text's tokens, with their texts."""
    names = _Names(loaded.tokenizer)
    stream = loaded.tokenizer.stream()
    texts = [stream.push(each.token) if each.token not in loaded.ends else "" for each in moved]
    if texts:
        texts[-1] += stream.finish()
    return tuple(
        ExplainedToken(
            each.token,
            text,
            names.of(each.token),
            each.logprob,
            each.reference_logprob,
            {term.name: part for term, part in zip(explainer.others, each.parts, strict=True)},
            each.rank,
            tuple(Alternative(token, names.of(token), share) for token, share in each.instead if share > 0),
        )
        for each, text in zip(moved, texts, strict=True)
    )


class _Names:
    """What a token is called: its text, or its name in the vocabulary where it has none."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._pieces: dict[int, str] = {}

    def of(self, token: int) -> str:
        text = self._tokenizer.decode([token])
        if text:
            return text
        if not self._pieces:
            self._pieces = {number: piece for piece, number in self._tokenizer.vocabulary.items()}
        return self._pieces.get(token, f"token {token}")


def _plain_settings(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with the pairs of `logit_bias` as JSON has them."""
    return {
        key: [list(pair) for pair in value] if isinstance(value, tuple) else value for key, value in sampling.items()
    }


def _plain(token: ExplainedToken) -> dict[str, Any]:
    return {
        "token": token.token,
        "text": token.text,
        "name": token.name,
        "logprob": token.logprob,
        "reference_logprob": token.reference_logprob,
        "change": token.change,
        "parts": dict(token.parts),
        "reference_rank": token.reference_rank,
        "reference_top": [
            {"token": each.token, "text": each.text, "probability": each.probability} for each in token.reference_top
        ],
    }
