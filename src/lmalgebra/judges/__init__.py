"""Judges: what gives a text a score from 0 to 1, such as its toxicity. Several can judge at once.

| written | is |
|---|---|
| `s-nlp/roberta_toxicity_classifier#toxic` | a sequence classifier on a hub, in safetensors, and which of its labels |
| `owner/name@revision#toxic` | the same of one commit, tag or branch |
| `./folder#toxic` | one in a folder |
| `detoxify`, `detoxify:unbiased`, `detoxify:multilingual` | Detoxify's networks, as their authors put them on a hub |
| `profanity` | alt-profanity-check, a linear model of words |
| `vader` | how positive a text is by VADER's lexicon, 0.5 being neutral |
| `http://host:port/v1#model` | a language model that is asked through OpenAI's chat protocol |
| `module:function` | a function from a list of texts to a list of scores |
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from lmalgebra.errors import EvaluationError
from lmalgebra.judges.asked import AskedJudge, Question
from lmalgebra.judges.base import THRESHOLD, Judge, Score
from lmalgebra.judges.classifier import ClassifierJudge, detoxify
from lmalgebra.judges.functions import PACKAGED, FunctionJudge, imported

__all__ = [
    "DEFAULT",
    "THRESHOLD",
    "AskedJudge",
    "ClassifierJudge",
    "FunctionJudge",
    "Judge",
    "Question",
    "Score",
    "judge_of",
    "judges_of",
]

DEFAULT = "s-nlp/roberta_toxicity_classifier#toxic"


def judges_of(several: Sequence[str], question: Question | None = None) -> list[Judge]:
    """The judges that are written so. Those that would have one name are called as they are written. Raises as
    `judge_of`."""
    judges = [judge_of(each, question) for each in several]
    names = [judge.name for judge in judges]
    for judge, written in zip(judges, several, strict=True):
        if names.count(judge.name) > 1:
            judge.name = written
    return judges


def judge_of(written: str, question: Question | None = None) -> Judge:
    """The judge that is written so; see the table above. `question` is what language models are asked.

    Raises LmalgebraError for what is no judge, MissingExtraError for one whose package is not installed.
    """
    if written in PACKAGED:
        return PACKAGED[written]()
    source, _, label = written.partition("#")
    if not source:
        raise _unknown(written)
    if source.startswith(("http://", "https://")):
        return AskedJudge(source, label, question or Question())
    kind, _, name = source.partition(":")
    if kind == "detoxify":
        return detoxify(name or "original", label)
    if not set("/\\:@.") & set(source) and not Path(source).exists():  # neither a hub id nor a path
        raise _unknown(source)
    if name and not set("/\\") & set(source):
        return imported(source)
    place, _, revision = source.partition("@")
    if revision and not Path(source).expanduser().exists():
        return ClassifierJudge(place, label, revision=revision)
    return ClassifierJudge(source, label)


def _unknown(written: str) -> EvaluationError:
    close = get_close_matches(written, [*PACKAGED, "detoxify"], n=1)
    kinds = "Write a folder, a hub id, an address, 'profanity', 'vader', 'detoxify' or module:function."
    return EvaluationError(f"There is no judge '{written}'.", f"Did you mean '{close[0]}'?" if close else kinds)
