"""Opens a remote: finds out what its server serves, how it takes prompts, and whether it has the vocabulary named."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lmalgebra.algebra.describe import Model
from lmalgebra.errors import ModelError, VocabularyError
from lmalgebra.models.base import LanguageModel, Tokenizer
from lmalgebra.models.completions import Completion
from lmalgebra.models.connection import Connection, RefusedError
from lmalgebra.models.endpoint import Endpoint, EndpointSession
from lmalgebra.models.token_names import TokenNames
from lmalgebra.models.tokenizer_only import load_tokenizer

log = logging.getLogger("lmalgebra")

OPENING_ATTEMPTS = 3
"""How often a server is asked at first: fewer times, since a wrong address is likelier than a passing failure."""

PROBE = "In 1984, wasn't it 3.14159 (or two  spaces)? Antidisestablishmentarianism: \"qu'est-ce que c'est\"; zzyzx"
"""A text that each tokenizer splits in its own way."""


def open_remote(model: Model, report: Callable[[str], None] = lambda sentence: None) -> LanguageModel:
    """The remote that `model` describes, ready. `report` gets a sentence for each step that takes time.

    Raises ModelError where its server does not answer, refuses, or gives no log-probabilities; VocabularyError where it
    splits text otherwise than the tokenizer named.
    """
    loaded = load_tokenizer(model.tokenizer, report)
    report(f"Asking {model.source} ...")
    connection = Connection(model.source, model.key_env)
    known = _models_of(connection)
    served = model.served or _only_one(known, connection.address)
    endpoint = Endpoint(connection, TokenNames(loaded.tokenizer), served, model.top_logprobs)
    try:
        _probe(endpoint, loaded.tokenizer, model.tokenizer)
    except RefusedError as error:
        if error.status != 404 or "model" not in error.words.lower() or served in known:
            raise
        names = ", ".join(map(repr, known)) or "it does not say"
        raise ModelError(f"The server at {connection.address} has no model {served!r}.", f"It has: {names}.") from None
    endpoint.reworded = 0
    session = EndpointSession(endpoint, min(loaded.context_length, _context(known.get(served))), loaded.end)
    for note in session.notes:
        log.warning(note)
    prompts = "token ids" if endpoint.sends_ids else "text"
    name = f"'{served}'" if served else "a model"
    summary = f"{name} at {connection.address}, {model.top_logprobs} log-probabilities a position, prompts as {prompts}"
    return LanguageModel(model.source, session, loaded.tokenizer, summary)


def _models_of(connection: Connection) -> dict[str, Mapping[str, Any]]:
    """What a server says of its models, by name; nothing where it has no list."""
    try:
        answer = connection.get("/models", OPENING_ATTEMPTS)
        return {str(each["id"]): each for each in answer["data"]}
    except RefusedError as error:
        if error.status in (401, 403):
            raise
    except (AttributeError, KeyError, TypeError):
        pass
    return {}


def _only_one(known: Mapping[str, Any], address: str) -> str:
    if len(known) > 1:
        names = ", ".join(map(repr, list(known)[:10])) + (", ..." if len(known) > 10 else "")
        raise ModelError(f"The server at {address} has {len(known)} models.", f"Name one in `served`: {names}.")
    return next(iter(known), "")


def _context(facts: Mapping[str, Any] | None) -> int:
    """Tokens that the server's model can read, as far as it says: vLLM and llama.cpp do."""
    facts = facts or {}
    meta = facts.get("meta") or {}
    found = [facts.get("max_model_len"), meta.get("n_ctx"), meta.get("n_ctx_train")]
    return min([each for each in found if isinstance(each, int) and each > 0], default=1 << 30)


def _probe(endpoint: Endpoint, tokenizer: Tokenizer, source: str) -> None:
    """Ask what follows `PROBE`, as text and then in better ways, of which the best that works is kept."""
    row = tokenizer.encode([PROBE])
    (as_text,) = endpoint.ask([row], OPENING_ATTEMPTS)
    plain = len(tokenizer.encode([PROBE], start=False))
    if as_text.read not in (None, len(row), plain, plain + 1):  # its server may put a token before a text or not
        raise _other_vocabulary(endpoint, source, f"it reads {as_text.read} tokens where this one reads {len(row)}")
    told = _require_known(endpoint, as_text, source)
    for wants_ids in (True, False):
        endpoint.sends_ids, endpoint.wants_ids = True, wants_ids
        as_ids = _answer_to_ids(endpoint, row)
        if as_ids is not None:
            again = _require_known(endpoint, as_ids, source)
            if as_text.read == len(row) and 2 * len(told & again) < min(len(told), len(again)):
                raise _other_vocabulary(endpoint, source, "token ids and text give different answers")
            return
    endpoint.sends_ids = endpoint.wants_ids = False


def _answer_to_ids(endpoint: Endpoint, row: Sequence[int]) -> Completion | None:
    """What follows a row that is sent as ids; None where the server does not take it: the plainest ones break on it."""
    try:
        (completion,) = endpoint.ask([row], attempts=1)
    except ModelError:
        return None
    return completion if completion.read in (None, len(row)) else None


def _require_known(endpoint: Endpoint, completion: Completion, source: str) -> set[int]:
    """The tokens of our vocabulary that are told. Raises VocabularyError where most are none, or say something else."""
    found = [each.found(endpoint.names) for each in completion.tokens]
    differ = [
        each
        for each, token in zip(completion.tokens, found, strict=True)
        if each.token is not None and each.spelled and (token is None or endpoint.names.says(token) != each.spelled)
    ]
    known = {token for token in found if token is not None}
    if 2 * len(differ) > len(found):
        raise _other_vocabulary(endpoint, source, f"its token {differ[0].token} is {differ[0].name!r}")
    if 2 * len(known) < len(found):
        raise _other_vocabulary(endpoint, source, f"it tells of tokens such as {completion.tokens[0].name!r}")
    return known


def _other_vocabulary(endpoint: Endpoint, source: str, how: str) -> VocabularyError:
    return VocabularyError(
        f"The server at {endpoint.connection.address} has another vocabulary than '{source}': {how}.",
        "Give as `tokenizer` the model that it serves, or one of the same family.",
    )
