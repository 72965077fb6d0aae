"""What can go wrong because of what a user gave, one class per kind.

Every message is one or two sentences that repeat what was given and say what to do about it.
The command line prints such an error without a traceback and exits with `exit_code`.
"""


class LmalgebraError(Exception):
    """Root of every error that a user can mend.

    `message` repeats what was given; `hint` says what to do (may be empty).
    """

    exit_code = 2

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message if not hint else f"{message} {hint}")


class FormulaError(LmalgebraError):
    """A formula that cannot be parsed, or that has no distribution.

    `place` is where the mistake stands in the formula's text, from its first character to after its last; None where
    the whole formula is wrong, or there is no text. The message then ends with lines that show it.
    """

    place: tuple[int, int] | None = None

    @property
    def sentence(self) -> str:
        """The message without the lines that show the place."""
        return self.message if self.place is None else self.message.partition("\n")[0]


class VoiceError(LmalgebraError):
    """A voice file or a term description that cannot be used as written."""


class ModelError(LmalgebraError):
    """Weights that cannot be found, fetched, loaded or served exactly."""


class VocabularyError(ModelError):
    """Models in one formula whose vocabularies differ."""


class PromptError(LmalgebraError):
    """A prompt that is empty, or longer than a model's context."""


class DecodingError(LmalgebraError):
    """Generation settings out of range, or a step at which no token is possible."""


class LostError(DecodingError):
    """A request that ended for no fault of its own: a bug, or a machine out of memory."""


class CacheFullError(LmalgebraError):
    """A session has no room for another row or more tokens."""


class BusyError(LmalgebraError):
    """A service that takes no more requests, for now or because it is closed."""


class MissingExtraError(LmalgebraError):
    """A feature whose optional dependency is not installed."""


class TrainingError(LmalgebraError):
    """Data or settings from which nothing can be trained, or a training that cannot go on."""


class EvaluationError(LmalgebraError):
    """Prompts, judges or results from which nothing can be measured."""


class ServingError(LmalgebraError):
    """Settings or voices with which nothing can be served."""
