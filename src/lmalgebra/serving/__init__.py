"""An OpenAI-compatible server whose model is a formula."""

from lmalgebra.serving.settings import ALLOWABLE, ServerSettings

__all__ = ["ALLOWABLE", "ServerSettings"]
