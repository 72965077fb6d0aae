"""What a voice that drafts says and tells: the text of its formula, sooner."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import pad
from voices import STEERED, TOYS, Watched, network, open_rows, recital, sessions, toy, toys

from lmalgebra.algebra import GenerationSettings, Model, Voice, parse
from lmalgebra.decoding import ComposedVoice, Piece, Request, Sample
from lmalgebra.decoding.context import conversation
from lmalgebra.models.table import TOY_PIECES, TableModel

PROMPTS = ("hello there. ", "abcabcabcabc", "what is it? what is it? ", "a", "dear me, dear me, dear me")
LENGTH = {"min_new_tokens": 14, "max_new_tokens": 14}
FIXED = ("prompt:3", "base:1", "base:3", "base:2 > formal:4", "prompt:2 > base:3", "draft:3", "draft:1 > base:2")
DRAFT = "mix(0.8 * other, 0.2 * base)"


def speaking(speculate, models, formula=STEERED, draft=DRAFT, max_samples=32, **settings) -> ComposedVoice:
    """A voice whose terms are plain completions by `models`; `formal` is addressed with a prefix of its own."""
    prefixes = {"formal": "dear sir, "} if "," in models["base"].tokenizer.vocabulary else {}
    terms = {name: Model(source=name).term(name=name, prefix=prefixes.get(name, "")) for name in models}
    described = Voice(parse(formula, terms), GenerationSettings(**settings))
    drafts = parse(draft, terms) if "draft" in speculate or speculate == "auto" else None
    return ComposedVoice(described, lambda model: models[model.source], max_samples, speculate, drafts)


@pytest.fixture(params=["toy", "network"])
def models(request):
    """Three terms: over three exact toys, or two over one random Llama and the third over another one."""
    if request.param == "toy":
        return toys(TOYS | {"other": TableModel(seed=3)})
    return dict.fromkeys(("base", "formal"), network()) | {"other": network(seed=1)}


def told(voice, prompts=PROMPTS, **settings):
    """What each prompt's samples say, by prompt and seed; nothing stays open."""
    samples = voice.generate_many(prompts, **settings)
    found = {(each.prompt[-1]["content"], each.seed): (each.text, each.tokens, each.finish_reason) for each in samples}
    assert open_rows(voice) == 0
    return found


@pytest.mark.parametrize(
    "settings",
    [
        LENGTH,
        {"max_new_tokens": 30},
        {"min_new_tokens": 9, "max_new_tokens": 11, "repetition_penalty": 1.5},
        {"max_new_tokens": 40, "min_new_tokens": 20, "repetition_penalty": 4.0, "stop": ["e", "ab", "t, "]},
    ],
    ids=["of a length", "free", "penalised", "stopped"],
)
def test_greedy_text_is_the_text_without_drafts(models, settings):
    expected = told(speaking("off", models, **settings), temperature=0)
    for speculate in (*FIXED, "auto"):
        assert told(speaking(speculate, models, **settings), temperature=0) == expected, speculate
    if settings == LENGTH:
        assert {len(tokens) for _, tokens, _ in expected.values()} == {14}


@pytest.mark.parametrize("count", [1, 3, 6])
@pytest.mark.parametrize("settings", [{}, {"temperature": 0.4, "top_k": 9, "repetition_penalty": 1.2, "stop": ["e"]}])
def test_copied_drafts_leave_sampled_text_as_it_is(models, count, settings):
    settings = {**LENGTH, "samples": 3, "seed": 8, **settings}
    drafting = speaking(f"prompt:{count}", models)
    assert told(drafting, **settings) == told(speaking("off", models), **settings)
    assert drafting.speculation.acceptance  # something was copied


@pytest.mark.parametrize("speculate", FIXED)
def test_a_text_is_the_same_alone_among_others_and_in_any_company(models, speculate):
    settings = {**LENGTH, "samples": 3, "seed": 40}
    among = told(speaking(speculate, models, max_samples=32), **settings)
    assert len({tokens for _, tokens, _ in among.values()}) == 15
    for max_samples in (1, 3):
        assert told(speaking(speculate, models, max_samples=max_samples), **settings) == among
    alone = told(speaking(speculate, models), [PROMPTS[2]], **{**settings, "samples": 1, "seed": 42})
    assert alone == {(PROMPTS[2], 42): among[PROMPTS[2], 42]}


def test_sampled_drafts_of_a_seed_give_another_text(models):
    """Which is why it must be the law that is tested."""
    assert told(speaking("base:3", models), **LENGTH) != told(speaking("off", models), **LENGTH)


def test_samples_of_different_settings_draft_together(models):
    voice = speaking("base:2 > formal:4", models)
    changes = [{"temperature": 0}, {"temperature": 0.6}, {"top_k": 3, "seed": 4}, {"repetition_penalty": 1.4}, {}]
    chosen = [voice.settings.replace(**LENGTH, **each) for each in changes]
    requests = [Request(i, conversation(PROMPTS[i]), each) for i, each in enumerate(chosen)]
    together = {event.index: event.tokens for event in voice.run(requests) if isinstance(event, Sample)}
    alone = {i: voice.generate(PROMPTS[i], **LENGTH, **each).samples[0].tokens for i, each in enumerate(changes)}
    assert together == alone


@pytest.mark.parametrize("speculate", [*FIXED, "auto"])
def test_pieces_join_to_the_text(models, speculate):
    voice = speaking(speculate, models, stop=["ee", "x"], min_new_tokens=20, max_new_tokens=40)
    requests = [Request(i, conversation(prompt), voice.settings) for i, prompt in enumerate(PROMPTS)]
    pieces, texts = dict.fromkeys(range(5), ""), {}
    for event in voice.run(requests):
        if isinstance(event, Piece):
            assert event.index not in texts
            pieces[event.index] += event.text
        elif isinstance(event, Sample):
            texts[event.index] = event.text
    assert pieces == texts
    assert not any(stop in text for text in texts.values() for stop in ("ee", "x"))
    if speculate != "auto":
        assert "".join(voice.stream("hello", seed=3)) == voice.generate("hello", seed=3).text


@pytest.mark.parametrize("speculate", [*FIXED, "auto"])
@pytest.mark.parametrize("changes", [{}, {"temperature": 0.5, "top_k": 5, "repetition_penalty": 1.3}])
def test_logprobs_are_the_score_of_the_text(models, speculate, changes):
    voice = speaking(speculate, models)
    for sample in voice.generate("abcabcabc", samples=3, **LENGTH, **changes).samples:
        score = voice.score("abcabcabc", sample.text)
        assert score.tokens == sample.tokens
        assert score.logprobs == pytest.approx(sample.logprobs, abs=1e-12 if len(sessions(voice)) > 2 else 2e-5)


@pytest.mark.parametrize("speculate", FIXED)
@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_stream_that_is_closed_between_drafts_gives_its_rows_back(models, speculate, after):
    voice = speaking(speculate, models, **LENGTH)
    stream = voice.stream("abcabcabc")
    for _ in range(after):
        next(stream)
    assert open_rows(voice) > 0
    stream.close()
    assert open_rows(voice) == 0


# Known texts: a model that is sure of what it says, whatever drafts.


def reciting(speculate, pieces, ends=True, **settings):
    """Formula and draft recite `pieces`."""
    said = recital(pieces, ends=ends)
    return speaking(speculate, {"base": said, "other": said}, "base", "other", **settings)


@pytest.mark.parametrize("speculate", ["base:1", "base:4", "base:5", "base:9", "base:2 > base:3", "draft:6"])
def test_an_end_inside_a_draft_ends_the_text(speculate):
    sample = reciting(speculate, "abcde").generate("p").samples[0]
    assert (sample.text, sample.finish_reason) == ("abcde", "end")
    assert len(sample.tokens) == len(sample.logprobs) == 6


@pytest.mark.parametrize("most", range(1, 9))
@pytest.mark.parametrize("speculate", ["base:1", "base:3", "base:9", "base:2 > base:3", "prompt:3", "auto"])
def test_the_most_tokens_end_the_text_inside_a_draft(speculate, most):
    sample = reciting(speculate, "abababababab").generate("p", max_new_tokens=most).samples[0]
    assert (sample.text, sample.finish_reason) == ("abababababab"[:most], "length")
    assert len(sample.tokens) == len(sample.logprobs) == most


@pytest.mark.parametrize("speculate", ["off", "base:2", "base:6", "base:1 > base:4"])
@pytest.mark.parametrize(
    ("pieces", "stop", "text"),
    [
        (["he", "llo wo", "rld", "!"], ["o worl"], "hell"),
        (["a", "b", "c", "d", "e", "f"], ["cde"], "ab"),
        (["x", "aa", "a", "aab ", "c"], ["aaab"], "xaa"),
        (["one", "two "], ["twice", "e"], "on"),
    ],
)
def test_a_stop_string_across_drafted_tokens_ends_the_text_before_it(speculate, pieces, stop, text):
    voice = reciting(speculate, pieces, stop=stop)
    sample = voice.generate("p").samples[0]
    assert (sample.text, sample.finish_reason) == (text, "stop")
    assert "".join(voice.stream("p")) == text
    assert voice.loaded.tokenizer.decode(sample.tokens).find(stop[-1]) >= 0  # no token after the one that completes it
    assert not any(each in voice.loaded.tokenizer.decode(sample.tokens[:-1]) for each in stop)


@pytest.mark.parametrize("temperature", [0, 1])
def test_a_draft_that_is_always_wrong_changes_nothing(temperature):
    pieces = ("p", *"abcde", "<end>")
    always_p = TableModel(pieces, order=0, rows={(): (1.0, *[0.0] * 6)})
    voice = speaking("draft:3", {"base": recital("abcde", ends=True), "other": toy(always_p)}, "base", "other")
    assert voice.generate("p", temperature=temperature).text == "abcde"
    assert voice.speculation.acceptance == {"draft by all": 0}


@pytest.mark.parametrize("speculate", FIXED)
@pytest.mark.parametrize("context_length", [26, 27, 28, 29, 30])
def test_a_context_that_ends_inside_a_draft_ends_the_text_as_without(speculate, context_length):
    short = toys(TOYS | {"other": TableModel(seed=3)}, context_length)
    settings = {"min_new_tokens": 50, "max_new_tokens": 50, "temperature": 0, "samples": 2}
    found = told(speaking(speculate, short), ["hello"], **settings)
    assert found == told(speaking("off", short), ["hello"], **settings)
    tokens = context_length - len("dear sir, hello") + 1
    assert {(len(said), reason) for _, said, reason in found.values()} == {(tokens, "length")}


@pytest.mark.parametrize("prompt", ["hello", "hello there, hello there, hello"])
def test_a_draft_of_a_shorter_context_drafts_only_what_it_can_follow(prompt):
    """It can read the first prompt but not all of the text, and cannot even read the second prompt."""
    models = toys() | {"other": toy(TableModel(seed=3), 20, "other")}
    drafting, plain = speaking("draft:3", models), speaking("off", models)
    settings = {"min_new_tokens": 40, "max_new_tokens": 40, "samples": 3}
    assert told(drafting, [prompt], **settings) == told(plain, [prompt], **settings)
    assert "other" not in drafting.speculation.calls
    told(drafting, ["hello"], max_new_tokens=16)
    assert drafting.speculation.calls["other"] > 0  # 5 tokens and 15 more fit


# Models of one tokenizer whose vocabularies are not rounded up alike.


class Resized(Watched):
    """A session without its last tokens, which it can neither say nor read, or with more, which mean nothing."""

    def __init__(self, session, change):
        super().__init__(session)
        self.vocabulary_size += change
        self._change = change

    def extend(self, tokens, wanted=None):
        assert all(token < self.vocabulary_size for new in tokens.values() for token in new)
        found = super().extend(tokens, wanted)
        return {row: pad(logits, (0, self._change), value=99.0) for row, logits in found.items()}


def resized(change, *names):
    """Three toys, of which those of `names` have so many more tokens."""
    models = toys(TOYS | {"other": TableModel(seed=3)})
    return models | {name: replace(models[name], session=Resized(models[name].session, change)) for name in names}


@pytest.mark.parametrize("change", [-3, 3])
@pytest.mark.parametrize("speculate", ["draft:3", "draft:1 > base:2", "prompt:2 > draft:2", "base:2 > draft:3", "auto"])
@pytest.mark.parametrize("draft", [DRAFT, "other"])
def test_a_draft_of_another_size_leaves_the_text_as_it_is(change, speculate, draft):
    expected = told(speaking("off", toys()), temperature=0, **LENGTH)
    last = len(TOY_PIECES) - 3
    assert any(token >= last for _, tokens, _ in expected.values() for token in tokens[:9])
    models = resized(change, "other")
    assert told(speaking(speculate, models, draft=draft), temperature=0, **LENGTH) == expected


@pytest.mark.parametrize(("change", "there"), [(-3, len(TOY_PIECES) - 3), (3, len(TOY_PIECES))])
@pytest.mark.parametrize("draft", ["other", "1.5 * other - 0.5 * formal"])
def test_a_draft_of_another_size_draws_from_the_tokens_it_shares(change, there, draft):
    """The acceptance is the overlap, as below; subtracting what a model cannot say makes nothing likely."""
    voice = speaking("draft:1", resized(change, "other", "formal"), "base", draft, max_new_tokens=2)
    voice.generate("he", samples=3000)
    base, other, formal = (TableModel(seed=seed).logprobs([7, 4]) for seed in (1, 3, 2))
    drafted = other if draft == "other" else 1.5 * other - 0.5 * formal
    overlap = torch.minimum(base.exp()[:there], drafted[:there].softmax(-1)).sum().item()
    assert voice.speculation.acceptance["draft by all"] == pytest.approx(overlap, abs=5 * 0.5 / 3000**0.5)
    assert 0.1 < overlap < 0.9


# The report.


def expensive(speculate: str, draft: str = "other") -> ComposedVoice:
    """A term that drafts exactly as the formula would, by a model of its own."""
    return speaking(speculate, toys({"base": TableModel(seed=1), "other": TableModel(seed=1)}), "base", draft)


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("lookahead", [1, 2, 4, 5])
def test_a_perfect_draft_saves_all_calls_but_one_of_each_cycle(lookahead, temperature):
    voice = expensive(f"draft:{lookahead}")
    voice.generate("hello", min_new_tokens=60, max_new_tokens=60, temperature=temperature)
    report = voice.speculation
    cycles = 60 // (lookahead + 1)
    assert report.tokens == 60
    assert report.calls["base"] == pytest.approx(cycles / 60)
    assert report.calls["other"] == pytest.approx((cycles * lookahead - 1) / 60)  # the first is told by the prompt
    assert report.acceptance == {"draft by all": pytest.approx(1)}
    assert report.chain == f"draft:{lookahead}"


def test_a_middle_stage_saves_calls_of_the_last():
    """The middle stage hands over 3 tokens of each act, so 6 where 5 are asked for; the last adds one. What the middle
    stage drew last, its term reads together with the last stage's."""
    three = toys(dict.fromkeys(("base", "other", "third"), TableModel(seed=1)))
    voice = speaking("base:2 > base,other:5", three, "base + other + third")
    voice.generate("hello", min_new_tokens=70, max_new_tokens=70)
    assert voice.speculation.calls["third"] == pytest.approx(10 / 70)
    assert voice.speculation.calls["other"] == pytest.approx(30 / 70)
    assert set(voice.speculation.acceptance) == {"base by base,other", "base,other by all"}


def test_copies_of_a_text_that_repeats_itself_save_calls():
    voice = reciting("prompt:4", "abc" * 40, ends=False)
    assert voice.generate("p", max_new_tokens=100).text == ("abc" * 40)[:100]
    assert voice.speculation.calls["base"] < 0.3
    assert voice.speculation.acceptance == {"prompt by all": pytest.approx(1)}


def test_terms_named_as_stages_are_measured_and_told_by_themselves():
    models = {name: toy(TableModel(seed=seed), source=name) for seed, name in enumerate(("base", "prompt", "all"))}
    voice = speaking("auto", models, "base + prompt + all", "base")
    assert set(voice.loaded.speculation._planner.costs) >= {"prompt", "`prompt`", "all", "`all`", "base"}
    voice.generate("abcabcabc", min_new_tokens=90, max_new_tokens=90, temperature=0)
    assert set(voice.speculation.acceptance) >= {"`prompt` by all", "`all` by all", "base by all", "draft by all"}


def test_without_drafts_every_token_is_a_call():
    voice = speaking("off", toys())
    voice.generate("hello", **LENGTH)
    report = voice.speculation
    assert (report.chain, report.tokens, report.acceptance) == ("off", 14, {})
    assert report.calls == {"base": 13 / 14, "formal": 13 / 14}
    assert str(report) == "Speculation: off. Accepted: nothing tried. Calls per token: base 0.93, formal 0.93."


def test_the_acceptance_is_the_overlap_of_draft_and_formula():
    """In the mean over samples, within five standard errors: the sum of min(draft, formula) at one position."""
    voice = speaking("draft:1", toys(TOYS | {"other": TableModel(seed=3)}), "base", "other", max_new_tokens=2)
    voice.generate("he", samples=3000)
    base, other = (TableModel(seed=seed).logprobs([7, 4]).exp() for seed in (1, 3))
    overlap = torch.minimum(base, other).sum().item()
    assert voice.speculation.acceptance["draft by all"] == pytest.approx(overlap, abs=5 * 0.5 / 3000**0.5)
    assert 0.1 < overlap < 0.9
