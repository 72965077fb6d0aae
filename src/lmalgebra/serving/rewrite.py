"""POST /v1/rewrite: what any model has said, said again by a voice where a judge asks for it and the meaning stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lmalgebra.errors import EvaluationError, ServingError
from lmalgebra.judges import judge_of
from lmalgebra.judges.template import Template
from lmalgebra.prompt_sets import text_of
from lmalgebra.rewriting.rewrite import TEMPLATE, RewriteSettings, Rewriting, Rewritten
from lmalgebra.rewriting.writers import Answer
from lmalgebra.serving.apart import Judging
from lmalgebra.serving.engine import Engine, Run
from lmalgebra.serving.errors import invalid, not_allowed
from lmalgebra.serving.prepare import Prepared, messages_of, prepare_speaker, require_short
from lmalgebra.serving.schema import AnsweredPrompt, RewriteRequest
from lmalgebra.serving.settings import ServerSettings
from lmalgebra.serving.voices import ServedVoice

if TYPE_CHECKING:
    from lmalgebra.models.text_encoder import TextEncoder

Answered = dict[str, Any]
"""A text to be rewritten, and what it answers if that is known."""


class Rewriters:
    """Which voices rewrite and what they are asked, the judge and the encoder.

    Raises LmalgebraError for a template or a judge that is none, and for a voice that is not `known`; nothing is loaded
    yet.
    """

    def __init__(self, settings: ServerSettings, known: Sequence[str], judging: Judging) -> None:
        self._settings = settings
        self._templates = {voice: template or TEMPLATE for voice, template in settings.rewriters.items()}
        for voice, template in self._templates.items():
            if voice not in known:
                raise ServingError(f"rewriters names '{voice}', which is no voice.", f"There are {', '.join(known)}.")
            _require_fields(voice, template)
        self._judge = judge_of(settings.rewrite_judge) if settings.rewrite_judge else None
        self.judging = judging

    def load(self) -> None:
        """Make sure that the judge and the encoder are there. Raises LmalgebraError."""
        if self._judge is not None:
            self._judge.about()
        if self._settings.rewrite_embedder:
            self._encoder  # noqa: B018

    @cached_property
    def _encoder(self) -> TextEncoder:
        from lmalgebra.models.text_encoder import load_encoder

        return load_encoder(self._settings.rewrite_embedder, "mean")

    def rewriting(self, asked: RewriteRequest, served: ServedVoice) -> Rewriting:
        """How a request is answered. Raises ApiError where the operator does not have it so."""
        if served.name not in self._templates:
            raise not_allowed("This voice rewrites nothing: the operator names those that do (rewriters).", "model")
        for name in ("above", "better"):
            if getattr(asked, name) and self._judge is None:
                raise invalid(f"{name} needs a judge, and this server has none (rewrite_judge).", name)
        if asked.similarity is not None and not self._settings.rewrite_embedder:
            raise invalid(
                "similarity needs an encoder of meaning, and this server has none (rewrite_embedder).", "similarity"
            )
        chosen = RewriteSettings(
            self._templates[served.name], above=asked.above or 0, similarity=asked.similarity, better=bool(asked.better)
        )
        has_encoder = bool(self._settings.rewrite_embedder)
        return Rewriting(chosen, self._judge, (lambda: self._encoder) if has_encoder else None)


def _require_fields(voice: str, template: str) -> None:
    try:
        names = Template(template).names
    except EvaluationError as error:
        raise ServingError(f"rewriters of the voice '{voice}': {error.message}", error.hint) from None
    if "text" not in names or not names <= {"text", "prompt"}:
        raise ServingError(
            f"rewriters of the voice '{voice}' asks '{template}', of which {', '.join(sorted(names)) or 'nothing'} is "
            "filled in.",
            "Write {{ text }} where the answer stands, and {{ prompt }}, if you like, where its prompt does.",
        )


async def rewritten(
    engine: Engine,
    rewriters: Rewriters,
    asked: RewriteRequest,
    served: ServedVoice,
    done: Callable[[Run], None],
) -> dict[str, Any]:
    """The answer. `done` hears of what was spoken, whether to its end or not.

    In this order: 1. judge what is given; 2. let the voice rewrite what is due; 3. judge and compare that, and choose.
    Raises ApiError, PromptError for a text that is too long, and what a judge raises that cannot judge.
    """
    rewriting, prepared = await engine.read(
        lambda: (rewriters.rewriting(asked, served), prepare_speaker(asked, served, engine.settings))
    )
    answers = _answers(asked, engine.settings)
    due = await rewriters.judging(lambda: rewriting.due(answers))
    prompts = {place: each.messages for place, each in enumerate(due) if each.messages is not None}
    said: list[list[Answer]] = [[] for _ in due]
    usage = [0, 0]
    if prompts:
        run = await engine.run(replace(prepared, prompts=tuple(prompts.values()), places=tuple(prompts)))
        try:
            with engine.running(run):
                async for _ in run.told():
                    pass
        finally:
            done(run)
        for (index, _), sample in sorted(run.samples.items()):
            said[run.prepared.places[index]].append(Answer(sample.text, sample.seed))
        usage = [sum(run.prompt_tokens), run.tokens.total()]
    found = await rewriters.judging(lambda: rewriting.chosen(due, said))
    return _content(prepared, found, usage)


def _answers(asked: RewriteRequest, settings: ServerSettings) -> list[Answered]:
    """The texts, with their prompts. Raises ApiError for too many or too long ones."""
    found = [_answer(each) for each in ([asked.input] if isinstance(asked.input, str) else asked.input)]
    size = sum(len(each["text"]) + len(text_of(each["prompt"]) if each["prompt"] else "") for each in found)
    require_short(len(found), size, "input", settings)
    return found


def _answer(given: str | AnsweredPrompt) -> Answered:
    if isinstance(given, str):
        return {"text": given, "prompt": None}
    prompt = messages_of(given.prompt) if isinstance(given.prompt, list) else given.prompt
    return {"text": given.text, "prompt": prompt}


def _content(prepared: Prepared, found: Sequence[Rewritten], usage: Sequence[int]) -> dict[str, Any]:
    read, drawn = usage
    served = prepared.served
    return {
        "object": "rewrite",
        "model": served.name,
        "system_fingerprint": served.fingerprint,
        "data": [_text(index, each) for index, each in enumerate(found)],
        "usage": {"prompt_tokens": read, "completion_tokens": drawn, "total_tokens": read + drawn},
        "lmalgebra": {"formula": str(prepared.speaker.formula), "seed": prepared.settings.seed},
    }


def _text(index: int, rewritten: Rewritten) -> dict[str, Any]:
    """One text: what stands in its place, and why that is the text itself (`kept`), or null where it is a rewrite."""
    return {
        "index": index,
        "object": "rewrite.text",
        "text": rewritten.after,
        "kept": rewritten.kept or None,
        "score_before": rewritten.score_before,
        "score_after": rewritten.score_after,
        "similarity": rewritten.similarity,
    }
