"""From a formula and its models to text."""

from lmalgebra.decoding.batch import Decoder, Piece, Refusal, Request, Sample
from lmalgebra.decoding.composed import Chat, ComposedVoice, Generation, Score, left_out
from lmalgebra.decoding.plan import Plan

__all__ = [
    "Chat",
    "ComposedVoice",
    "Decoder",
    "Generation",
    "Piece",
    "Plan",
    "Refusal",
    "Request",
    "Sample",
    "Score",
    "left_out",
]
