"""From a formula and its models to text."""

from lmalgebra.decoding.batch import Decoder, Piece, Request, Sample
from lmalgebra.decoding.composed import Chat, ComposedVoice, Generation, Score
from lmalgebra.decoding.plan import Plan

__all__ = ["Chat", "ComposedVoice", "Decoder", "Generation", "Piece", "Plan", "Request", "Sample", "Score"]
