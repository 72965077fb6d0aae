"""From sentences to groups: paraphrases are written, filtered, and kept sentence by sentence.

In this order: 1. the corpus is read, and what writes and filters is checked; 2. blocks of sentences are worked on: each
side is asked for what it still lacks, and what comes is filtered, for some rounds; 3. each sentence is written with all
that was rejected; 4. the card counts it up.

The same settings and corpus give the same files from a voice, whether it was stopped in between or not, but for the
rounding of what is computed together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from lmalgebra.algebra import Model
from lmalgebra.errors import TrainingError
from lmalgebra.judges import Question, judge_of
from lmalgebra.models.store import Report, silent
from lmalgebra.models.text_encoder import load_encoder
from lmalgebra.rewriting.cleaning import cleaned
from lmalgebra.rewriting.writers import Answer, Asked, Writer
from lmalgebra.training.paraphrases.candidates import Candidate
from lmalgebra.training.paraphrases.card import Card
from lmalgebra.training.paraphrases.corpus import Anchor, read_corpus
from lmalgebra.training.paraphrases.files import Counts, Draft, ParaphraseFiles
from lmalgebra.training.paraphrases.filters import Filters, plain
from lmalgebra.training.paraphrases.parquet import check_parquet, write_parquet
from lmalgebra.training.paraphrases.settings import NONE, PARQUET, SIDES, ParaphraseSettings
from lmalgebra.training.paraphrases.writing import OpenVoice, Questions, writers_of

_Advance = Callable[[int], None]


@dataclass(frozen=True)
class Progress:
    """How far it is: sentences done, of how many, and the counts so far."""

    done: int
    total: int
    counts: Counts


@dataclass(frozen=True)
class Result:
    """The file of groups, and what came of the corpus."""

    path: Path
    counts: Counts


def write_paraphrases(
    settings: ParaphraseSettings,
    open_voice: OpenVoice,
    *,
    resume: bool = False,
    report: Report = silent,
    advance: Callable[[Progress], None] = lambda progress: None,
) -> Result:
    """Write groups of paraphrases into `settings.output`; `resume` goes on with what was stopped.

    `open_voice` is `la.voice`, or makes voices of weights of one's own. Beside the groups come the rejected
    paraphrases (`.rejected.jsonl`) and a card (`.card.json`, `.card.md`). Raises TrainingError for settings or a corpus
    that cannot be used, where the files cannot be written, and after `settings.patience` sentences of which nothing
    was accepted; ModelError where a model or server fails; MissingExtraError. What is done is kept.
    """
    if settings.output.endswith(PARQUET):
        check_parquet()
    corpus = read_corpus(settings)
    writers = writers_of(settings, open_voice)
    filters = _filters(settings, open_voice, report)
    about = {side: writer.about() for side, writer in writers.items()}
    card = Card(settings, corpus.revision, about, filters.about())
    if resume:
        card.check()
    files = ParaphraseFiles(settings, resume)
    try:
        card.write(files.counts)
        left = [anchor for anchor in corpus.anchors if anchor.id not in files.done]
        known = len(corpus.anchors) - len(left)
        report(f"{len(left):,} sentences to paraphrase{f', {known:,} are done' if known else ''}.")
        work = _Work(settings, writers, filters)

        def tell(done: int) -> None:
            advance(Progress(known + done, len(corpus.anchors), files.counts))

        _go_through(left, work, files, settings, tell)
    finally:
        files.close()
        card.write(files.counts)
    path = files.groups.path
    if settings.output.endswith(PARQUET):
        path = write_parquet(path, Path(settings.output).expanduser())
    return Result(path, files.counts)


class _Work:
    """Paraphrases some sentences at once."""

    def __init__(self, settings: ParaphraseSettings, writers: dict[str, Writer], filters: Filters) -> None:
        self._settings, self._writers, self._filters = settings, writers, filters
        self._questions = {side: Questions(settings, side) for side in SIDES}

    def drafts(self, anchors: Sequence[Anchor]) -> list[Draft]:
        drafts = [Draft(anchor, seen={plain(text) for text in _said(anchor)}) for anchor in anchors]
        for _ in range(self._settings.tries):
            for side in SIDES:
                lacking = [draft for draft in drafts if self._missing(draft, side)]
                if lacking:
                    self._propose(lacking, side)
        return drafts

    def _missing(self, draft: Draft, side: str) -> int:
        return self._settings.wanted(side) - len(draft.taken[side])

    def _propose(self, drafts: Sequence[Draft], side: str) -> None:
        """Ask for what a side lacks, and take of it what passes."""
        asked = [
            Asked(
                self._questions[side].about(draft.anchor),
                self._missing(draft, side),
                self._settings.seed + draft.proposed[side],
            )
            for draft in drafts
        ]
        proposed = [
            (draft, _candidate(draft, side, answer))
            for draft, answers in zip(drafts, self._writers[side].write(asked), strict=True)
            for answer in answers
        ]
        verdicts = self._filters([candidate for _, candidate in proposed], [draft.seen for draft, _ in proposed])
        for (draft, candidate), verdict in zip(proposed, verdicts, strict=True):
            draft.add(candidate, verdict)


def _go_through(
    left: Sequence[Anchor], work: _Work, files: ParaphraseFiles, settings: ParaphraseSettings, advance: _Advance
) -> None:
    """Work on what is left, block by block. Raises TrainingError where nothing comes of too many in a row."""
    fruitless: Counter[str] = Counter()
    sentences = done = 0
    anchors = iter(left)
    while block := list(islice(anchors, settings.block)):
        for draft in work.drafts(block):
            files.add(draft)
            if any(draft.taken.values()):
                sentences, fruitless = 0, Counter()
            else:
                sentences += 1
                fruitless += Counter(reason.name for _, reason, _ in draft.rejected)
        done += len(block)
        advance(done)
        if sentences >= settings.patience:
            reasons = ", ".join(f"{name} {count:,}" for name, count in fruitless.most_common())
            raise TrainingError(
                f"Of {sentences:,} sentences in a row no paraphrase was accepted ({reasons}).",
                f"See {files.rejected.path}: other templates, examples or formulas may help, a larger writer, or "
                "looser filters. All is kept.",
            )


def _filters(settings: ParaphraseSettings, open_voice: OpenVoice, report: Report) -> Filters:
    """What the settings ask for; the encoder is loaded, since an absent one should be told at once."""
    judge = encoder = fluency = None
    if settings.judge != NONE:
        template = {"template": settings.judge_template} if settings.judge_template else {}
        judge = judge_of(
            settings.judge, Question(**template, scale=settings.judge_scale, key_env=settings.judge_key_env)
        )
    if settings.embedder != NONE:
        encoder = load_encoder(settings.embedder, "mean", report)
    if settings.fluency != NONE:
        fluency = open_voice(Model(settings.fluency).term(name="fluency", prefix=""))
    return Filters(settings, judge, encoder, fluency)


def _said(anchor: Anchor) -> tuple[str, ...]:
    """The sentence and what its sides paraphrase: saying that again is no paraphrase."""
    return (anchor.text, *anchor.sources.values())


def _candidate(draft: Draft, side: str, answer: Answer) -> Candidate:
    source = draft.anchor.sources[side]
    return Candidate(side, source, cleaned(answer.text), answer.text, answer.seed, answer.trouble)
