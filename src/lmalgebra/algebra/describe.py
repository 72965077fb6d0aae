"""What the terms of a voice stand for: weights, and the prompt under which they speak. Nothing loads here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from lmalgebra.algebra.adapter import Adapter, as_adapter
from lmalgebra.algebra.formula import Description, Term
from lmalgebra.algebra.naming import model_name, term_name
from lmalgebra.algebra.remote import LOCAL_KEYS, REMOTE_KEYS, TOP_LOGPROBS, check_address, host_of, is_remote
from lmalgebra.algebra.weights import shown
from lmalgebra.errors import VoiceError

DTYPES = ("auto", "float32", "bfloat16", "float16", "float64")
QUANTIZATIONS = ("none", "int4")


@dataclass(frozen=True)
class Model:
    """Where a model's weights are and how to run them.

    `source` is a catalogue name, a hub id, a folder or a .gguf file; `name` labels the model in a voice file.
    `engine`, `dtype` and `device` may be left to "auto"; `quantization` "int4" rounds the weights to four bits each.

    For a remote, `source` is the http address of a server. `tokenizer` then names a model whose vocabulary it has,
    `served` is the server's own name for the model (left out where it serves one), `key_env` the environment variable
    that holds the key, and `top_logprobs` how many of the likeliest tokens it is asked for at each position.

    Raises VoiceError for an empty source, for a dtype or quantization that is not known, and for what only a remote or
    only other models can have.
    """

    source: str
    name: str = ""
    engine: str = "auto"
    dtype: str = "auto"
    device: str = "auto"
    quantization: str = "none"
    tokenizer: str = ""
    served: str = ""
    key_env: str = ""
    top_logprobs: int = TOP_LOGPROBS

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name == "top_logprobs":
                self._check_count(value)
                continue
            if not isinstance(value, str):
                raise VoiceError(f"{field.name}={shown(value)} of a model is not text.", "Put it in quotes.")
            if not value.strip() and field.default != "":
                raise VoiceError(f"The {field.name} of a model is empty.", _EMPTY_HINTS[field.name])
        for key, known in (("dtype", DTYPES), ("quantization", QUANTIZATIONS)):
            if getattr(self, key) not in known:
                raise VoiceError(f"{key}={getattr(self, key)!r} is not known.", f"Known: {', '.join(known)}.")
        if self.is_remote:
            check_address(self.source)
            if not self.tokenizer.strip():
                raise VoiceError("A remote needs a tokenizer.", _TOKENIZER_HINT)
        self._refuse_what_does_not_apply()
        if not self.name:
            name = (self.served or host_of(self.source)) if self.is_remote else self.source
            object.__setattr__(self, "name", model_name(name))

    @property
    def is_remote(self) -> bool:
        """Whether another program serves it at an http address."""
        return is_remote(self.source)

    @property
    def weights(self) -> tuple[str | int, ...]:
        """What decides which weights load; models that agree here load once, whatever their names."""
        return tuple(getattr(self, field.name) for field in fields(self) if field.name != "name")

    def _check_count(self, count: object) -> None:
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise VoiceError(f"top_logprobs={shown(count)} of a model is no number of tokens.", "Give 1 or more.")

    def _refuse_what_does_not_apply(self) -> None:
        kind, hint = "model that is no remote", "Leave it out: it is for remotes."
        if self.is_remote:
            kind, hint = "remote", "Leave it out: its server decides."
        refused = LOCAL_KEYS if self.is_remote else REMOTE_KEYS
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in refused and value != field.default:
                raise VoiceError(f"{field.name}={shown(value)} is given for a {kind}, which has none.", hint)

    def term(
        self,
        *,
        name: str | None = None,
        system: str | None = None,
        prefix: str | None = None,
        chat_template: str | None = None,
        template: str | None = None,
        adapter: Adapter | Mapping[str, float] | None = None,
    ) -> Term:
        """A term that speaks with this model; see ModelTerm. Without a name, one is made from the content.

        `adapter` is a place, or places with weights: {"./formal": 0.7, "./short": 0.3}.

        Raises VoiceError for keys that exclude each other, FormulaError for a name the text syntax cannot hold.
        """
        description = ModelTerm(self, system, prefix, chat_template, template, as_adapter(adapter))
        return Term(_term_name(description) if name is None else name, description)


@dataclass(frozen=True)
class ModelTerm(Description):
    """A model under a prompt, in one of three ways.

    - chat (the default): the model's chat template, or `chat_template` (Jinja) in its place, with `system` if given;
    - `prefix`: plain text directly before the prompt, without a chat template; "" is plain completion;
    - `template`: a Jinja template over `prompt`, `system` and `messages`, with `system` if given.

    `adapter` names low-rank weights laid over the model's, or a weighted sum of such (see `as_adapter`, whose form it
    takes). Raises VoiceError for keys that exclude each other.
    """

    model: Model
    system: str | None = None
    prefix: str | None = None
    chat_template: str | None = None
    template: str | None = None
    adapter: Adapter | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, Model):
            raise VoiceError(f"model={shown(self.model)} of a term is not a Model.", "Write Model(source).")
        for key in ("system", "prefix", "chat_template", "template"):
            value = getattr(self, key)
            if value is not None and not isinstance(value, str):
                raise VoiceError(f"{key}={shown(value)} of a term is not text.", "Put it in quotes.")
            if value is not None and not value.strip() and key not in ("system", "prefix"):
                raise VoiceError(f"The {key} of a term is empty.", "Leave the key out.")
        object.__setattr__(self, "adapter", as_adapter(self.adapter))
        for other in ("system", "template", "chat_template"):
            self._refuse_both("prefix", other, "prefix is plain text without a template")
        self._refuse_both("template", "chat_template", "template takes the place of the chat template")

    def _refuse_both(self, one: str, other: str, reason: str) -> None:
        if getattr(self, one) is not None and getattr(self, other) is not None:
            raise VoiceError(f"A term cannot have both {one} and {other}: {reason}.", f"Keep {one} or {other}.")


_TOKENIZER_HINT = 'Give tokenizer = "...", a model of its vocabulary, in Python or a voice file.'

_EMPTY_HINTS = {
    "source": "Give a catalogue name, a hub id, a folder or a .gguf file.",
    "engine": 'Leave it out, or write "auto".',
    "dtype": 'Leave it out, or write "auto".',
    "device": 'Leave it out, or write "auto".',
    "quantization": 'Leave it out, or write "none".',
}


def _term_name(description: ModelTerm) -> str:
    """What is left to its default does not enter, so that names stay when a later version has more to give."""
    model = description.model
    content = [
        (field.name, value)
        for part in (model, description)
        for field in fields(part)
        if (value := getattr(part, field.name)) != field.default and field.name not in ("name", "model")
    ]
    spoken = description.system or description.prefix or description.template or description.chat_template
    return term_name(spoken or model.name, content)
