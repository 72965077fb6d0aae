"""API keys. A key is compared with every known one, in a time that does not depend on what it is."""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass
from pathlib import Path

from lmalgebra.errors import ServingError
from lmalgebra.serving.settings import NAME, ServerSettings

VARIABLE = "LMALGEBRA_API_KEYS"
SHORTEST = 16


@dataclass(frozen=True)
class Keys:
    """The keys that are let in, as (name, SHA-256) pairs; the keys themselves are not kept. None at all lets all in."""

    digests: tuple[tuple[str, bytes], ...] = ()

    def owner(self, authorization: str) -> str | None:
        """The name of the key in an Authorization header, or None for a key that is not known."""
        scheme, _, given = authorization.partition(" ")
        digest = hashlib.sha256(given.strip().encode("utf-8", "surrogateescape")).digest()
        found = None
        for name, known in self.digests:  # to the end, whichever fits
            if hmac.compare_digest(known, digest) and scheme.lower() == "bearer":
                found = name
        return found

    def __bool__(self) -> bool:
        return bool(self.digests)


def load_keys(settings: ServerSettings) -> Keys:
    """The keys of the settings' file and of the environment. Raises ServingError for one that cannot be used, and
    where everybody could reach a server without keys.
    """
    lines = [(line, VARIABLE) for line in os.environ.get(VARIABLE, "").split(",")]
    if settings.keys_file:
        lines += [(line, settings.keys_file) for line in _file_lines(settings.keys_file)]
    given = [(line.strip(), place) for line, place in lines if line.strip() and not line.strip().startswith("#")]
    keys = Keys(tuple(_key(line, place, number) for number, (line, place) in enumerate(given, 1)))
    if settings.without_keys and keys:
        raise ServingError("Keys are given, and without_keys.", "Leave out the one or the other.")
    if not keys and not settings.is_local and not settings.without_keys:
        raise ServingError(
            f"Others can reach {settings.host}, and no keys are given.",
            f"Give --keys-file FILE or {VARIABLE}, or --without-keys to let everybody in.",
        )
    return keys


def _file_lines(place: str) -> list[str]:
    try:
        return Path(place).expanduser().read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ServingError(f"The file of keys '{place}' cannot be read: {reason}.", "Check the path.") from None


def _key(line: str, place: str, number: int) -> tuple[str, bytes]:
    name, separator, key = line.partition(":")
    if not separator:
        name, key = f"key-{number}", line
    if not NAME.fullmatch(name):
        raise ServingError(f"Key {number} of {place} has a name that cannot be used.", "Write NAME:KEY.")
    if len(key) < SHORTEST:
        raise ServingError(
            f"Key {number} of {place} is shorter than {SHORTEST} characters.",
            "Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'.",
        )
    return name, hashlib.sha256(key.encode()).digest()
