"""Remotes: models that another program serves at an http address. What their descriptions may say; nothing is asked."""

from urllib.parse import urlsplit

from lmalgebra.errors import VoiceError

LOCAL_KEYS = ("engine", "dtype", "device", "quantization")
"""What is to say of a model that runs here, and of no remote."""

REMOTE_KEYS = ("tokenizer", "served", "key_env", "top_logprobs")
"""What is to say of a remote, and of no other model."""

TOP_LOGPROBS = 20
"""Likeliest tokens that a remote is asked for where nothing is said of it: vLLM gives no more unless it is told to."""


def is_remote(source: str) -> bool:
    """Whether `source` is the http or https address of a server."""
    return source.lower().startswith(("http://", "https://"))


def host_of(source: str) -> str:
    """The host and port of a remote's address."""
    return urlsplit(source).netloc


def check_address(source: str) -> None:
    """Raise VoiceError for an address without a host, or with what may be a key, which would be shown and saved."""
    try:
        parts = urlsplit(source)
        host, _ = parts.hostname, parts.port  # a port that is no number shows only now
    except ValueError:
        host = None
    if not host:
        raise VoiceError("The address of a remote names no host.", _ADDRESS)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise VoiceError(
            f"The address of the remote at {parts.hostname} holds more than a place: a user name, or what follows a "
            "? or a #.",
            "Give the address alone; key_env names the environment variable that holds a key.",
        )


_ADDRESS = 'Write it like "http://127.0.0.1:8080/v1".'
