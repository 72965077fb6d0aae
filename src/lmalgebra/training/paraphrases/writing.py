"""Who writes each side, and what it is asked of a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from lmalgebra.algebra import Model, Voice, load_voice, parse
from lmalgebra.algebra.formula import Formula
from lmalgebra.decoding import ComposedVoice
from lmalgebra.decoding.context import Conversation
from lmalgebra.errors import EvaluationError, TrainingError
from lmalgebra.judges.template import Template
from lmalgebra.rewriting.asking import Question
from lmalgebra.rewriting.writers import ChatWriter, VoiceWriter, Writer
from lmalgebra.training.paraphrases.corpus import Anchor
from lmalgebra.training.paraphrases.settings import SIDES, ParaphraseSettings

DEFAULT_MODEL = "smollm2-135m"

OpenVoice = Callable[[Formula | Voice], ComposedVoice]
"""Makes a voice that can speak of a described one, or of a formula: `la.voice`."""


def writers_of(settings: ParaphraseSettings, open_voice: OpenVoice) -> dict[str, Writer]:
    """Each side's writer; nothing loads until it first writes. Raises LmalgebraError for what is none."""
    if settings.endpoint:
        chat = ChatWriter(settings.endpoint, settings.served, settings.generation, settings.key_env)
        return dict.fromkeys(SIDES, chat)
    described = load_voice(Path(settings.voice)) if settings.voice else _built_in(settings.model or DEFAULT_MODEL)
    return {side: _voice_writer(described, settings, side, open_voice) for side in SIDES}


class Questions:
    """What a side's writer is asked of sentences."""

    def __init__(self, settings: ParaphraseSettings, side: str) -> None:
        self._side = side
        self._question = Question(Template(settings.template(side)), settings.examples(side))

    def about(self, anchor: Anchor) -> Conversation:
        """Raises TrainingError, with the row's place, for a field that the template names and the row lacks."""
        try:
            return self._question.about(anchor.sources[self._side], anchor.fields)
        except EvaluationError as error:
            raise TrainingError(f"{anchor.place}: {error.message}", error.hint) from None


def _built_in(model: str) -> Voice:
    term = Model(model).term(name="base")
    return Voice(term, terms=(term,))


def _voice_writer(voice: Voice, settings: ParaphraseSettings, side: str, open_voice: OpenVoice) -> Writer:
    if text := settings.formula(side):
        voice = replace(voice, formula=parse(text, {term.name: term for term in voice.terms}))
    return VoiceWriter(open_voice(voice), settings.generation)
