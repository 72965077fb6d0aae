"""From a formula and its models to text."""

from lmalgebra.decoding.composed import Chat, ComposedVoice, Generation, Score, left_out
from lmalgebra.decoding.explanation import Alternative, ExplainedToken, Explanation
from lmalgebra.decoding.loaded import LoadedFormula
from lmalgebra.decoding.plan import Plan
from lmalgebra.decoding.request import Event, Piece, Refusal, Request, Sample
from lmalgebra.decoding.scheduler import Scheduler
from lmalgebra.decoding.service import Service, Ticket
from lmalgebra.decoding.speculation import SpeculationReport

__all__ = [
    "Alternative",
    "Chat",
    "ComposedVoice",
    "Event",
    "ExplainedToken",
    "Explanation",
    "Generation",
    "LoadedFormula",
    "Piece",
    "Plan",
    "Refusal",
    "Request",
    "Sample",
    "Scheduler",
    "Score",
    "Service",
    "SpeculationReport",
    "Ticket",
    "left_out",
]
