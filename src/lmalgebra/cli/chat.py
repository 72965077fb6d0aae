"""`lmalgebra chat`: talk with a voice in the terminal."""

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import typer

from lmalgebra.cli import options
from lmalgebra.cli.console import INTERRUPTED, say, say_error
from lmalgebra.cli.option_groups import PlaceOptions, SamplingOptions, VoiceOptions, grouped
from lmalgebra.cli.recipes import RecipeChoice
from lmalgebra.cli.results import StreamedText
from lmalgebra.cli.voices import chosen_voice, model_registry, open_voice, say_afterwards, with_formula
from lmalgebra.errors import LmalgebraError

if TYPE_CHECKING:
    from lmalgebra.algebra import Voice
    from lmalgebra.decoding import Chat, ComposedVoice

HELP = "/formula TEXT changes the formula, /forget starts anew, /quit ends. Ctrl-C stops an answer."


@grouped
def chat(
    *,
    voice: VoiceOptions,
    recipe: RecipeChoice,
    sampling: SamplingOptions,
    places: PlaceOptions,
    speculate: options.Speculate = None,
    draft: options.Draft = None,
) -> None:
    """Talk with a voice. /formula TEXT changes the formula, /forget starts anew, /quit or end of input ends."""
    chosen = chosen_voice(voice, recipe, places)
    talk = _Talk(chosen, sampling.given, speculate=speculate, draft=draft)
    try:
        while (line := _heard()) is not None and line.strip() != "/quit":
            talk.take(line)
    except KeyboardInterrupt:
        say("\nStopped.")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        talk.say_afterwards()


class _Talk:
    """A conversation whose formula may change on the way; weights load once."""

    def __init__(self, voice: "Voice", changes: dict[str, Any], **drafting: str | None) -> None:
        self._voice = voice
        self._changes = changes
        self._drafting = drafting
        self._models = model_registry()
        self._composed, self._chat = self._opened(voice)
        say(f"{voice.formula}\n{HELP}")

    def take(self, line: str) -> None:
        """Do what a line asks for: a command, or an answer."""
        command, _, rest = line.strip().partition(" ")
        try:
            if command == "/forget":
                self._chat.forget()
                say("Forgotten.")
            elif command == "/formula":
                self._change_formula(rest)
            elif command.startswith("/"):
                say(f"There is no command {command}. {HELP}")
            elif line.strip():
                self._answer(line)
        except LmalgebraError as error:
            say_error(error)

    def _change_formula(self, text: str) -> None:
        if text.strip():
            voice = with_formula(self._voice, text)
            composed, chat = self._opened(voice)
            chat.messages = self._chat.messages
            self.say_afterwards()
            self._voice, self._composed, self._chat = voice, composed, chat
        say(str(self._voice.formula))

    def _answer(self, line: str) -> None:
        # Ctrl-C ends the answer, not the conversation: what was said until then is remembered.
        results = StreamedText()
        try:
            with contextlib.suppress(KeyboardInterrupt), contextlib.closing(self._chat.stream(line)) as pieces:
                for piece in pieces:
                    results.piece(piece)
        except LmalgebraError:
            results.break_off()
            raise
        print(flush=True)

    def say_afterwards(self) -> None:
        """Tell how the voice spoke that is being left; remotes' numbers go on from one formula to the next."""
        say_afterwards(self._composed)

    def _opened(self, voice: "Voice") -> "tuple[ComposedVoice, Chat]":
        composed = open_voice(voice, self._models, **self._drafting)
        composed.loaded  # noqa: B018  loads now, so that a voice that cannot speak is refused before anyone talks
        return composed, composed.chat(**self._changes)


def _heard() -> str | None:
    """The next line of the user, or None at the end. The prompt sign appears only where someone types."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.rstrip("\r\n") if line else None
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  gives `input` its line editing and history
    try:
        return input("> ")
    except EOFError:
        print()
        return None
