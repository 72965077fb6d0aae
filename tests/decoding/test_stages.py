"""Which stages a description of speculation means, what is refused, and which are worth measuring."""

import pytest
from voices import toys, voice

from lmalgebra.algebra import GenerationSettings, Term, Voice, parse
from lmalgebra.decoding import ComposedVoice, Plan
from lmalgebra.decoding.stages import Chain, candidates, parse_chain
from lmalgebra.errors import DecodingError

STEERED = "base + 0.6 * (formal - base)"
THREE = "small + medium - 0.5 * large"
GRAMMAR = "Write off, auto, or stages such as 'base:4', 'prompt:8' or 'small:4 > small,medium:8'."


def chain(spec: str, formula: str = STEERED, draft: str | None = None) -> Chain:
    return parse_chain(spec, Plan(parse(formula)), None if draft is None else Plan(parse(draft)))


def formulas(found: Chain) -> list[str | None]:
    """What each stage draws from; None copies."""
    return [None if stage.plan is None else str(stage.plan.simplified) for stage in found.stages]


@pytest.mark.parametrize(
    ("spec", "formula", "stages", "lookaheads", "shown"),
    [
        ("off", STEERED, [], (), "off"),
        ("  off ", STEERED, [], (), "off"),
        ("prompt:8", STEERED, [None], (8,), "prompt:8"),
        ("prompt", STEERED, [None], (4,), "prompt:4"),
        ("base:4", STEERED, ["0.4 * base"], (4,), "base:4"),
        (" formal : 64 ", STEERED, ["0.6 * formal"], (64,), "formal:64"),
        ("base,formal:1", STEERED, ["0.4 * base + 0.6 * formal"], (1,), "base,formal:1"),
        ("small:4 > small,medium:8", THREE, ["small", "small + medium"], (4, 8), "small:4 > small,medium:8"),
        (
            "small>medium , small>large,small",
            THREE,
            ["small", "small + medium", "small - 0.5 * large"],
            (4, 4, 4),
            None,
        ),
        ("prompt:2 > medium:3", THREE, [None, "medium"], (2, 3), "prompt:2 > medium:3"),
        ("draft:3 > small:5", THREE, ["other"], (3, 5), "draft:3 > small:5"),
    ],
)
def test_what_a_description_means(spec, formula, stages, lookaheads, shown):
    found = chain(spec, formula, "other" if "draft" in spec else None)
    assert formulas(found)[: len(stages)] == stages
    assert formulas(found)[-1] == str(parse(formula).simplify())
    assert found.lookaheads == lookaheads
    assert len(found.stages) == len(lookaheads) + 1
    assert str(found) == (shown or "small:4 > medium,small:4 > large,small:4")


def test_a_chain_without_its_drafts_is_off():
    found = chain("prompt:2 > base:3")
    assert found.copies
    assert not chain("base:3").copies
    assert not found.plain.copies
    assert (str(found.plain), found.plain.stages) == ("off", found.stages[-1:])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", f"'' is not a stage of speculation. {GRAMMAR}"),
        ("base:", f"'base:' is not a stage of speculation. {GRAMMAR}"),
        ("base:4 >", f"'' is not a stage of speculation. {GRAMMAR}"),
        ("base:-1", f"'base:-1' is not a stage of speculation. {GRAMMAR}"),
        ("base:four", f"'base:four' is not a stage of speculation. {GRAMMAR}"),
        ("base:4:4", f"'base:4:4' is not a stage of speculation. {GRAMMAR}"),
        (":4", f"':4' is not a stage of speculation. {GRAMMAR}"),
        ("base:0", "The stage 'base:0' drafts 0 tokens at once. Give 1 to 64."),
        ("base:65", "The stage 'base:65' drafts 65 tokens at once. Give 1 to 64."),
        ("prompt:65", "The stage 'prompt:65' drafts 65 tokens at once. Give 1 to 64."),
        (
            "polite:4",
            f"The speculation names 'polite', which is no term of the formula `{STEERED}`. "
            f"Its terms are base, formal; 'prompt' copies from the context. {GRAMMAR}",
        ),
        (
            "base,:4",
            f"The speculation names '', which is no term of the formula `{STEERED}`. "
            f"Its terms are base, formal; 'prompt' copies from the context. {GRAMMAR}",
        ),
        (
            "base:4 > off",
            f"The speculation names 'off', which is no term of the formula `{STEERED}`. "
            f"Its terms are base, formal; 'prompt' copies from the context. {GRAMMAR}",
        ),
        ("draft:4", "The speculation names the stage 'draft', but no draft formula is given. Give one."),
        (
            "base:4 > prompt:4",
            "In the speculation 'base:4 > prompt:4' the stage 'prompt' is not the first. Put it first.",
        ),
    ],
)
def test_what_cannot_be_used_is_repeated(spec, message):
    with pytest.raises(DecodingError) as refusal:
        chain(spec)
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("formula", "names"),
    [
        ("2 * base - formal", "formal"),
        ("base | formal", "base"),
        ("base & formal", "formal"),
        ("base + within(formal, top_k=3)", "formal"),
        ("base + tilt(formal)", "formal"),
        ("base + 1.5 * (formal - base)", "base"),
        ("base + ramp(0, 1, tokens=5) * (formal - base)", "base"),
    ],
)
def test_terms_that_say_nothing_alone_cannot_draft(formula, names):
    with pytest.raises(DecodingError) as refusal:
        chain(f"{names}:2", formula)
    assert str(refusal.value) == (
        f"The formula `{parse(formula)}` has no distribution over {names} alone, so these cannot draft. "
        "Name other terms."
    )


@pytest.mark.parametrize("spec", ["off", " off ", "base:4", "prompt:8", "prompt:2 > base:4"])
def test_a_draft_that_would_not_be_used_is_refused(spec):
    described = Voice(parse(STEERED), GenerationSettings())
    with pytest.raises(DecodingError) as refusal:
        ComposedVoice(described, toys().get, speculate=spec, draft=parse("2 * base"))
    assert str(refusal.value) == (
        f"The speculation '{spec}' does not use the draft formula `2 * base`. "
        "Name the stage 'draft', as in 'draft:4', or give no draft formula."
    )


@pytest.mark.parametrize("spec", ["draft", "draft:2 > base:4", "base:2 > draft:4", "auto", None])
def test_a_draft_that_is_used_is_not_refused(spec):
    described = Voice(parse(STEERED), GenerationSettings())
    assert ComposedVoice(described, toys().get, speculate=spec, draft=parse("base")).speculates


@pytest.mark.parametrize(("name", "spec"), [("prompt", "prompt:4 > base:2"), ("draft", "base:2 > draft:3")])
@pytest.mark.parametrize("draft", [None, "other"])
def test_a_stage_that_is_also_a_term_is_refused(name, spec, draft):
    with pytest.raises(DecodingError) as refusal:
        chain(spec, f"base + {name}", draft)
    assert str(refusal.value) == (
        f"'{name}' is both a stage of speculation and a term of the formula `base + {name}`. Rename the term."
    )


@pytest.mark.parametrize("name", ["prompt", "draft"])
def test_a_term_named_as_a_stage_may_draft_with_others(name):
    found = chain(f"{name},base:4", f"base + {name} + other")
    assert formulas(found)[0] == f"base + {name}"


def test_a_term_named_as_the_whole_is_told_from_it():
    found = chain("all:4", "base + all")
    assert [stage.name for stage in found.stages] == ["`all`", "all"]
    assert formulas(found) == ["all", "base + all"]


@pytest.mark.parametrize("spec", ["polite:4", "base:0", "draft:4", " "])
def test_a_voice_refuses_a_description_before_anything_loads(spec):
    def load(model):
        raise AssertionError("a model is loaded")

    with pytest.raises(DecodingError):
        ComposedVoice(Voice(parse(STEERED), GenerationSettings()), load, speculate=spec)


def test_without_a_description_nothing_drafts_but_a_draft_that_is_given():
    described = Voice(parse(STEERED), GenerationSettings())
    assert not ComposedVoice(described, toys().get).speculates
    assert ComposedVoice(described, toys().get, draft=parse("base")).speculates
    assert voice(STEERED, toys()).speculation.chain == "off"


SMALL, MEDIUM, LARGE = (Term(name) for name in ("small", "medium", "large"))


def names(formula: str, groups, draft: str | None = None) -> list[str]:
    found = candidates(Plan(parse(formula)), None if draft is None else Plan(parse(draft)), groups)
    return [" > ".join(stage.name for stage in stages) for stages in found]


def test_candidates_are_no_draft_copies_the_draft_and_parts_by_weights():
    assert names("small + medium", [[SMALL], [MEDIUM]]) == ["", "prompt", "small", "medium"]
    assert names("small + medium", [[SMALL], [MEDIUM]], "other") == ["", "prompt", "draft", "small", "medium"]
    assert names("small", [[SMALL]]) == ["", "prompt"]


def test_terms_that_share_weights_draft_together():
    assert names("small + medium + large", [[SMALL, MEDIUM], [LARGE]]) == ["", "prompt", "small,medium", "large"]


def test_terms_of_one_set_of_weights_are_tried_singly_or_in_pairs():
    expected = ["", "prompt", "small", "medium", "large", "small,medium", "small,large", "medium,large"]
    assert names("small + medium + large", [[SMALL, MEDIUM, LARGE]]) == expected


def test_three_sets_of_weights_are_tried_in_two_stages():
    found = names("small + medium + large", [[SMALL], [MEDIUM], [LARGE]])
    assert "small > small,medium" in found
    assert "large > medium,large" in found
    assert "small > medium,large" not in found
    assert not any(name.endswith("small,medium,large") for name in found)


def test_parts_that_say_nothing_are_no_candidates():
    assert names("2 * small - medium", [[SMALL], [MEDIUM]]) == ["", "prompt", "small"]
    assert names("small | medium", [[SMALL], [MEDIUM]]) == ["", "prompt"]


def test_equal_parts_are_one_candidate_of_the_fewest_terms():
    groups = [[SMALL], [MEDIUM], [LARGE]]
    assert names("small - 0.5 * union(medium, large)", groups) == ["", "prompt", "small"]
    assert names("small + tilt(small & large) + medium", groups) == [
        *("", "prompt", "small", "medium", "small,medium", "small,large"),
        *("small > small,medium", "small > small,large", "medium > small,medium"),
    ]


@pytest.mark.parametrize(
    "formula",
    [
        "small + medium + large",
        "small - 0.5 * union(medium, large)",
        "mix(0.5 * small, 0.5 * union(medium, large)) + 0.1 * large",
        "power(small + tilt(medium), 2) + within(large, top_k=3)",
        "2 * small - medium + (large & small)",
    ],
)
@pytest.mark.parametrize("groups", [[[SMALL, MEDIUM, LARGE]], [[SMALL], [MEDIUM, LARGE]], [[SMALL], [MEDIUM], [LARGE]]])
def test_no_two_candidates_draft_alike_and_none_is_the_whole(formula, groups):
    plan = Plan(parse(formula))
    drafts = [tuple(stage.plan and stage.plan.simplified for stage in each) for each in candidates(plan, None, groups)]
    assert len(set(drafts)) == len(drafts)
    assert plan.simplified not in {stage for stages in drafts for stage in stages}


def test_terms_named_as_stages_are_told_from_them():
    terms = [[Term(name)] for name in ("prompt", "draft", "all")]
    found = names("prompt + draft + all", terms, "other")
    assert found[:6] == ["", "prompt", "draft", "`prompt`", "`draft`", "`all`"]
    assert "`prompt` > prompt,all" in found
    assert len(set(found)) == len(found)
