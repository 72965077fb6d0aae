"""A voice as a model of lm-evaluation-harness (https://github.com/EleutherAI/lm-evaluation-harness).

The harness asks three things of a model: how likely a continuation is after a context, how likely a whole text is, and
what is said after a context. A voice's terms read the context each in its own way, as a prompt of the user: a term with
a prefix reads both as one text, which is what the harness does with a plain model; a term that chats reads it in its
chat template, under its own system prompt. All terms then read the same tokens, those that the harness takes for the
continuation in the plain text. What a term cannot hold is cut off from the front of its context, as the harness does.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from lmalgebra.algebra import GenerationSettings, Term
from lmalgebra.decoding import ComposedVoice
from lmalgebra.decoding.context import Conversation, conversation, told_tokens
from lmalgebra.decoding.reading import Given
from lmalgebra.decoding.request import Refusal, Request, Sample
from lmalgebra.decoding.score import score_many
from lmalgebra.errors import EvaluationError, LmalgebraError
from lmalgebra.evaluation.evaluate import Progress, unheard
from lmalgebra.evaluation.kept import Kept
from lmalgebra.models.fingerprint import digest
from lmalgebra.models.identity import identity_of

log = logging.getLogger("lmalgebra")

MARK = "\ue000"
"""Begins a context that is a conversation, as JSON, instead of text: each term applies its own chat template."""

SEEDS = 1 << 31

SAMPLING = ("top_k", "top_p", "min_p", "repetition_penalty")
"""Settings of generation that the harness and voices call alike."""


class VoiceLM(TemplateLM):  # type: ignore[misc]
    """`voice` as a model of the harness; answers are kept in `cache`, if one is given, and not computed again.

    `progress` hears of requests. `notes` are sentences on requests that got no answer and count as empty.
    """

    tokenizer_name = "lmalgebra"

    def __init__(self, voice: ComposedVoice, cache: Path | None = None, progress: Progress = unheard) -> None:
        super().__init__()
        self.voice, self.notes = voice, list[str]()
        self._cache, self._progress = cache, progress

    @property
    def eot_token_id(self) -> int:
        return min(self.voice.loaded.ends)

    @property
    def prefix_token_id(self) -> int:
        start = self.voice.loaded.tokenizer.start_token
        return self.eot_token_id if start is None else start

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        return self.voice.loaded.tokenizer.encode([string], start=add_special_tokens is not False)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return MARK + json.dumps(chat_history, ensure_ascii=False)

    def loglikelihood(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        keys = [list(request.args) for request in requests]
        found = self._answers("likelihoods", self._likelihoods, keys)
        return [(-inf, False) if each is None else (each[0], each[1]) for each in found]

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        found = self._answers("whole texts", self._whole_texts, [request.args[0] for request in requests])
        return [-inf if each is None else each for each in found]

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        asked = Counter[str]()
        keys = []
        for request in requests:
            context, wishes = request.args
            _settings(self.voice.settings, wishes)  # refuses before anything is said
            if _conversation(context)[1]:
                raise EvaluationError(
                    "A voice cannot go on with an answer that the task has begun.", "Leave out --apply_chat_template."
                )
            same = json.dumps(request.args)
            keys.append([*request.args, asked[same]])
            asked[same] += 1
        return ["" if each is None else each for each in self._answers("answers", self._said, keys)]

    def _answers(self, what: str, compute: Callable[[Sequence[Any]], Sequence[Any]], keys: Sequence[Any]) -> list[Any]:
        """What `compute` gives for each key, from the cache where it is known; None where it can say nothing."""
        advance = self._progress(what, len(keys))
        self.voice.loaded  # noqa: B018 - weights that cannot be loaded are no single answer's trouble
        if self._cache is None:
            found = list(compute(keys))
            advance(len(keys))
            return found
        settings = self.voice.settings.replace(seed=0, samples=1)
        if what != "answers":  # of which a score knows but the length that constraints reckon with
            settings = GenerationSettings(max_new_tokens=settings.max_new_tokens)
        about = {"kind": f"lm-eval {what}", **identity_of(self.voice.voice, settings).description}
        kept = Kept(self._cache / "utility", about, compute)
        found = kept(keys, advance)
        self.notes += kept.troubles
        return found

    # How likely a continuation is

    def _likelihoods(self, keys: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        requests = [SimpleNamespace(args=tuple(key)) for key in keys]
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        if context.startswith(MARK):
            return [], self.tok_encode(continuation, add_special_tokens=False)
        pair: tuple[list[int], list[int]] = super()._encode_pair(context, continuation)
        return pair

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        texts = [self._given(context, tokens) for (context, _), _, tokens in requests]
        return self._scores(texts)

    def _given(self, context: str, tokens: Sequence[int]) -> Given:
        messages, begun = _conversation(context.rstrip())  # the harness counts what it ends with to the continuation
        contexts = self._contexts(messages)
        if begun:
            more = self.tok_encode(begun, add_special_tokens=False)
            contexts = {leaf: [*known, *more] for leaf, known in contexts.items()}
        return self._fitting(Given(messages, contexts, tokens))

    def _contexts(self, messages: Conversation) -> dict[Term, list[int]]:
        loaded = self.voice.loaded
        told = {leaf: told_tokens(leaf, loaded.models[leaf], messages) for leaf in loaded.plan.speakers}
        return {leaf: tokens or [self.prefix_token_id] for leaf, tokens in told.items()}

    def _fitting(self, text: Given) -> Given:
        """The text with each context cut to the last tokens that there is room for."""
        sessions = self.voice.loaded.sessions
        most = {leaf: sessions[leaf].context_length + 1 - len(text.tokens) for leaf in text.contexts}
        if min(most.values()) < 1:
            raise EvaluationError(
                f"A continuation of {len(text.tokens):,} tokens is longer than a term of the voice can read.",
                "Take a model that reads more, or leave the task out.",
            )
        return text._replace(contexts={leaf: tokens[-most[leaf] :] for leaf, tokens in text.contexts.items()})

    def _scores(self, texts: Sequence[Given]) -> list[tuple[float, bool]]:
        found = score_many(self.voice.loaded, texts, self.voice.settings.max_new_tokens)
        return [(round(sum(each.logprobs), 5), all(each.is_greedy)) for each in found]

    # How likely a whole text is

    def _whole_texts(self, strings: Sequence[str]) -> list[float]:
        """Windows as the harness cuts them; before each, a term reads what it has of its own."""
        messages = _conversation("")[0]
        own = {leaf: self._own(leaf, messages) for leaf in self.voice.loaded.plan.speakers}
        sessions = self.voice.loaded.sessions
        length = min(sessions[leaf].context_length - len(tokens) for leaf, tokens in own.items())
        texts, places = [], []
        for place, string in enumerate(strings):
            windows = get_rolling_token_windows(self.tok_encode(string), self.prefix_token_id, length, context_len=1)
            for number, window in enumerate(windows):
                before, tokens = make_disjoint_window(window)
                said = before if number else []  # before the first there is only what stands for nothing
                contexts = {leaf: [*mine, *said] or before for leaf, mine in own.items()}
                texts.append(Given(messages, contexts, tokens))
                places.append(place)
        totals = [0.0] * len(strings)
        for place, (value, _) in zip(places, self._scores(texts), strict=True):
            totals[place] += value
        return totals

    def _own(self, leaf: Term, messages: Conversation) -> list[int]:
        """What a term reads before a text that follows nothing; nothing where it adds nothing of its own."""
        model = self.voice.loaded.models[leaf]
        told = told_tokens(leaf, model, messages)
        return [] if told == model.tokenizer.encode([""]) else told

    # What is said

    def _said(self, keys: Sequence[tuple[str, Mapping[str, Any], int]]) -> list[str | None]:
        found: list[str | None] = [None] * len(keys)
        requests = []
        for place, (context, wishes, again) in enumerate(keys):
            settings = _settings(self.voice.settings, wishes).replace(seed=int(digest([context, again]), 16) % SEEDS)
            try:
                requests.append(Request(place, conversation(_conversation(context)[0]), settings))
            except LmalgebraError as error:
                self._miss(error)
        for event in self.voice.run(requests) if requests else ():
            if isinstance(event, Sample):
                found[event.index] = event.text
            elif isinstance(event, Refusal):
                self._miss(event.error)
        return found

    def _miss(self, error: LmalgebraError) -> None:
        self.notes.append(f"A prompt got no answer, which counts as an empty one: {error.message}")
        log.warning(self.notes[-1])


def _conversation(context: str) -> tuple[Conversation, str]:
    """A context as messages up to the user's last, and what the assistant's answer has to begin with."""
    if not context.startswith(MARK):
        return ({"role": "user", "content": context},), ""
    *before, last = json.loads(context.removeprefix(MARK))
    return ((*before, last), "") if last["role"] == "user" else (tuple(before), last["content"])


def _settings(settings: GenerationSettings, wishes: Mapping[str, Any]) -> GenerationSettings:
    """A voice's settings with what a task wishes. Raises EvaluationError for a wish that voices do not know."""
    known = dict(normalize_gen_kwargs(dict(wishes)))
    stop, is_sampled, temperature = (
        known.pop("until", None) or [],
        known.pop("do_sample"),
        known.pop("temperature", 0.0),
    )
    changes = {
        "max_new_tokens": known.pop("max_gen_toks"),
        "temperature": temperature if is_sampled else 0.0,
        "stop": tuple(text for text in ([stop] if isinstance(stop, str) else stop) if text),
        "samples": 1,
    }
    changes |= {key: value for key in SAMPLING if (value := known.pop(key, None)) is not None}
    if known:
        raise EvaluationError(
            f"The task asks for {', '.join(known)} when it generates, which voices do not know.",
            f"They know temperature, until, max_gen_toks, {', '.join(SAMPLING)}.",
        )
    if changes.get("top_k") == 0:
        changes["top_k"] = None  # the harness's word for all
    return settings.replace(**changes)
