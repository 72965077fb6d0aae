"""Scores of texts by a judge, whatever it reads and whichever of the texts it cannot judge."""

from collections.abc import Sequence
from typing import Any

from lmalgebra.errors import EvaluationError
from lmalgebra.judges import Judge, Score


def scores_of(judge: Judge, pairs: Sequence[tuple[str, str]]) -> list[Score]:
    """The score of each pair's second text, which follows the first; why there is none where there is none.

    A judge that reads no prompts is given the texts alone. Raises LmalgebraError where it cannot judge at all.
    """
    judged: list[Any] = list(pairs) if judge.reads_prompt else [text for _, text in pairs]
    return [
        score
        for start in range(0, len(judged), judge.block)
        for score in _scores(judge, judged[start : start + judge.block])
    ]


def _scores(judge: Judge, judged: Sequence[Any]) -> list[Score]:
    """Where one text keeps the judge from the others, halves are judged."""
    try:
        return judge.scores(judged)
    except EvaluationError as error:
        if len(judged) == 1:
            return [error]
        middle = len(judged) // 2
        return [*_scores(judge, judged[:middle]), *_scores(judge, judged[middle:])]
