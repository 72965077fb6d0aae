"""`--recipe` and `lmalgebra recipes`: every recipe speaks, options reach the formula, and mistakes are told."""

import re

import pytest

from lmalgebra.algebra import Classifier, ModelTerm, Voice
from lmalgebra.algebra.recipes import RECIPES
from lmalgebra.algebra.recipes.prompts import SYSTEM_PROMPTS
from lmalgebra.cli.option_groups import PlaceOptions, VoiceOptions
from lmalgebra.cli.recipes import RecipeChoice
from lmalgebra.cli.voices import chosen_voice
from lmalgebra.models.classifiers import TextClassifier
from lmalgebra.models.loaded_classifiers import LoadedClassifiers

NEEDS_CLASSIFIER = [name for name, each in RECIPES.items() if "classifier" in each.parts]
JUDGE = ("--classifier", "./judge")
TOY = ("--model", "toy", "--prompt", "hi.", "--max-new-tokens", "5")


def chosen(recipe: RecipeChoice) -> Voice:
    return chosen_voice(VoiceOptions(), recipe, PlaceOptions())


def formula_of(name: str, *values: str, **options) -> str:
    return str(chosen(RecipeChoice(name, list(values), **options)).formula)


def test_the_list_has_every_recipe_with_paper_formula_and_parameters(lm):
    shown = lm("recipes").stdout
    for name, each in RECIPES.items():
        assert f"{name}: {each.title}\n  paper    {each.paper}\n  formula  {each.formula}\n" in shown
        assert each.described in shown
        assert "arXiv" in each.paper
        assert each.paper.partition(",")[0].split()[0] in (each.make.__doc__ or "")
        assert each.paper[-10:] in (each.make.__doc__ or "")


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in NEEDS_CLASSIFIER])
def test_a_recipe_speaks_and_tells_its_formula_first(lm, name):
    result = lm("run", *TOY, "--recipe", name)
    each = RECIPES[name]
    assert result.stderr == f"{each.title} ({each.paper}): {each.formula}\n"
    assert result.stdout.strip()
    assert result.stdout == lm("run", *TOY, "--recipe", name.replace("-", "_")).stdout


@pytest.mark.parametrize("name", NEEDS_CLASSIFIER)
def test_a_recipe_with_a_classifier(lm, name, monkeypatch):
    def opened(self, description, model, ends):
        assert (description.source, description.label) == ("./judge", "kind")
        return TextClassifier(lambda texts: {text: -len(text) / 9 for text in texts}, model.tokenizer, ends)

    monkeypatch.setattr(LoadedClassifiers, "open", opened)
    result = lm("run", *TOY, "--recipe", name, "--classifier", "./judge", "--label", "kind")
    assert result.stdout.strip()
    assert "classifier" in result.stderr


def test_every_part_has_a_prompt():
    for name, each in RECIPES.items():
        assert [*SYSTEM_PROMPTS[name]] == [part for part in each.parts if part != "classifier"]


@pytest.mark.parametrize(
    ("name", "values", "formula"),
    [
        ("dexperts", ["alpha=3", "top_p=1"], "base + 3 * (expert - antiexpert)"),
        ("dexperts", ["expert=poet", "top_p=1"], "base + 2 * (poet - antiexpert)"),
        ("preadd", ["alpha=ramp(0, 1, tokens=9)"], "base + ramp(0, 1, tokens=9) * (prefixed - base)"),
        ("cfg", ["prompted=poet", "prompted=child"], "plain + 1.5 * (0.5 * (poet + child) - plain)"),
        ("product-of-experts", ["adapter=0.5 * (poet + child)"], "base + 1 * tilt(0.5 * (poet + child))"),
    ],
)
def test_set_reaches_the_formula(name, values, formula):
    assert formula_of(name, *values) == formula


def test_a_classifier_scores_as_many_tokens_as_the_recipe_keeps():
    voice = chosen(RecipeChoice("fudge", ["top_k=30"], classifier="./judge", label="kind"))
    (found,) = [term for term in voice.formula.leaves() if term.name == "classifier"]
    assert found.description == Classifier("./judge", "kind", top_k=30)
    assert str(voice.formula) == "base + 1 * classifier + within(base, top_k=30)"


def test_an_unwanted_label_is_one_whose_absence_is_wanted():
    choice = RecipeChoice("union-detox-classifier", classifier="./judge", unwanted="toxic")
    (found,) = [term for term in chosen(choice).formula.leaves() if term.name == "classifier"]
    assert found.description == Classifier("./judge", "toxic", sign=-1)


def test_system_gives_a_part_or_a_new_term_its_prompt():
    choice = RecipeChoice("cfg", ["plain=dull"], systems=["prompted=Be bold.", "dull=Be dull."])
    terms = {term.name: term.description for term in chosen(choice).terms}
    assert isinstance(terms["prompted"], ModelTerm)
    assert (terms["prompted"].system, terms["dull"].system) == ("Be bold.", "Be dull.")


def test_parts_are_the_terms_of_a_voice_file(lm, letters):
    options = ("run", letters, "--prompt", "a", "--max-new-tokens", "4", "--temperature", "0")
    given = lm(*options, "--recipe", "contrastive", "--set", "expert=letters", "--set", "amateur=reverse")
    assert given.stdout == "aaaa\n"
    told = lm(*options, "--recipe", "contrastive", "--set", "expert=letters", code=2).stderr
    assert told == (
        "error: The recipe contrastive needs the term `amateur`, which the voice does not have. "
        "Say which of its terms it is, such as --set amateur=letters.\n"
    )
    told = lm(*options, "--recipe", "contrastive", "--system", "expert=Speak.", code=2).stderr
    assert told.startswith("error: --system expert=... cannot say which model the term speaks by.")


VERBS = {"run": TOY, "chat": TOY[:2] + TOY[4:], "explain": TOY, "check": TOY[:2]}
"""The verbs that speak by a voice, with the options that make them short."""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_takes_a_formula_takes_a_recipe(lm, verb):
    options = ["--recipe", "preadd", "--set", "alpha=2", "--system", "prefixed=o! "]
    done = lm(verb, *VERBS[verb], *options, input="hi.\n")
    assert done.stderr.splitlines()[0].startswith(
        "PreADD (Pei et al., Findings of ACL 2023, arXiv 2307.03214): base + 2"
    )
    assert done.stdout.strip()
    for wrong, told in ((["--recipe", "pread"], "There is no recipe 'pread'."), (["--label", "x"], "--label belongs")):
        assert lm(verb, *VERBS[verb], *wrong, input="hi.\n", code=2).stderr.startswith(f"error: {told}")
    assert "─ A recipe ─" in lm(verb, "--help").stdout


def test_every_verb_that_speaks_by_a_formula_is_among_them(lm):
    verbs = re.findall(r"^│ (\w+) ", lm("--help").stdout, re.MULTILINE)
    assert {*VERBS} < {*verbs}
    of_their_own = {"evaluate", "tune", "rewrite"}  # several formulas by name, one with open weights, a file's own
    assert [verb for verb in verbs if "--formula" in lm(verb, "--help").stdout and verb not in of_their_own] == [*VERBS]


def test_check_shows_a_recipes_formula_and_what_stands_for_its_parts(lm):
    shown = lm("check", "--model", "toy", "--recipe", "fudge", "--classifier", "./judge", "--label", "kind").stdout
    assert shown.startswith("formula: base + 1 * classifier + within(base, top_k=200)\n")
    assert "  classifier: classifier './judge', label 'kind', top_k 200\n" in shown


def test_a_chat_keeps_the_recipes_terms_for_other_formulas(lm):
    done = lm("chat", *VERBS["chat"], "--recipe", "dexperts", input="/formula expert + antiexpert\nhi.\n")
    assert done.stderr.splitlines()[-1] == "expert + antiexpert"
    assert done.stdout.strip()


def test_a_recipe_can_be_explained(lm):
    assert '"terms": ["expert", "antiexpert"]' in lm("explain", *TOY, "--recipe", "dexperts", "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--recipe", "dexpert"], "There is no recipe 'dexpert'. Did you mean 'dexperts'? Recipes: cfg, dexperts, "),
        (["--recipe", "fudge"], "The recipe fudge needs a classifier. Add --classifier FOLDER, with --label LABEL or "),
        (["--recipe", "cfg", "--formula", "base"], "Both --formula and --recipe were given. Keep one of them."),
        (["--recipe", "cfg", "--set", "gama=3"], "The recipe cfg has no 'gama'. Did you mean 'gamma'? It takes: "),
        (["--recipe", "cfg", "--set", "gamma=poet"], "`gamma` of the recipe cfg is not a number. It takes: prompted, "),
        (["--recipe", "cfg", "--set", "plain=2"], "`plain` of the recipe cfg is not a formula. It takes: prompted, "),
        (["--recipe", "cfg", "--set", "gamma"], "--set 'gamma' is no name and value. Write --set alpha=1.5"),
        (["--recipe", "cfg", "--set", "gamma=1", "--set", "gamma=2"], "--set gamma was given twice. Keep one of them."),
        (["--recipe", "cfg", "--set", "plain=pot"], "`pot` is not a term.\n  pot\n  ^^^\nDid you mean `poet`? "),
        (["--recipe", "cfg", "--classifier", "x"], "The recipe cfg takes no classifier. It takes: prompted, plain, "),
        (["--recipe", "cfg", "--system", "plain=a", "--system", "plain=b"], "--system plain was given twice. Keep one"),
        (
            ["--recipe", "cfg", "--system", "prompt=a"],
            "--system prompt=... changes nothing: the formula holds no term `prompt`. Its terms are: plain, prompted; "
            "--set says which term is a part, such as --set prompted=prompt.",
        ),
        (["--recipe", "union-detox", "--set", "strength=1"], "strength=1.0 of the union is not below 1, so it takes"),
        (
            ["--recipe", "union-detox", "--set", "strength=ramp(0.5, 1.2, tokens=10)"],
            "`base - ramp(0.5, 1.2, tokens=10) * union(toxic, base)` has the mass 1 - ramp(0.5, 1.2, tokens=10), which "
            "is not positive at position 8",
        ),
        (
            ["--recipe", "contrastive", "--set", "alpha=2"],
            "alpha=2.0 of contrastive decoding is not from 0 to 1. Write",
        ),
        (
            ["--recipe", "dexperts", "--set", "top_p=ramp(0, 1, tokens=5)"],
            "The schedule `ramp(0, 1, tokens=5)` cannot be ",
        ),
        (["--recipe", "fudge", *JUDGE, "--set", "top_k=2.5"], "`top_k` of the recipe fudge is not a whole number. It "),
        (
            ["--recipe", "fudge", *JUDGE, "--set", "top_k=ramp(1, 5, tokens=3)"],
            "`top_k` of the recipe fudge is not a who",
        ),
        (
            ["--recipe", "fudge", *JUDGE, "--set", "top_k=base"],
            "`top_k` of the recipe fudge is not a whole number. It ",
        ),
        (
            ["--recipe", "fudge", *JUDGE, "--set", "top_k=0"],
            "top_k=0 of a classifier is not a whole number of at least 1",
        ),
        (
            ["--recipe", "fudge", *JUDGE, "--set", "classifier=base"],
            "Both --classifier and --set classifier=... were giv",
        ),
        (["--recipe", "fudge", "--unwanted", "x"], "--unwanted belongs to a classifier. Add --classifier FOLDER."),
        (
            ["--recipe", "fudge", "--classifier", "c", "--label", "x", "--unwanted", "y"],
            "Both --label and --unwanted were given. Keep one of them.",
        ),
        (["--recipe", "cfg", "--label", "x"], "--label belongs to a classifier. Add --classifier FOLDER."),
        (["--recipe", "dexperts", "--set", "top_p=2"], "top_p=2.0 of within is not above 0 and at most 1."),
        (["--recipe", "self-debias", "--set", "floor=1"], "floor=1.0 of self_debias is not from 0 to below 1."),
        (["--recipe", "contrastive", "--set", "temperature=0"], "temperature=0.0 of the amateur is not above 0."),
        (["--set", "alpha=2"], "--set belongs to a recipe. Add --recipe NAME; `lmalgebra recipes` lists the names."),
        (["--system", "a=b"], "--system belongs to a recipe."),
    ],
)
def test_a_mistake_is_told_in_a_sentence(lm, arguments, told):
    *_, error = lm("run", *TOY, *arguments, code=2).stderr.partition("error: ")
    assert error.startswith(told)


@pytest.mark.parametrize("place", ["./nowhere", "nowhere", "/no/where"])
def test_a_classifier_that_is_not_there(lm, place):
    told = lm("run", *TOY, "--recipe", "fudge", "--classifier", place, code=2).stderr.splitlines()[-1]
    assert told == (
        f"error: There is no classifier at '{place}'. Give a folder, as `lmalgebra train classifier` or "
        "save_pretrained makes it, or a hub id."
    )


def test_a_recipe_needs_a_prompt(lm):
    told = lm("run", "--model", "toy", "--recipe", "cfg", code=2).stderr
    assert told.endswith("error: There is no prompt. Add --prompt TEXT, or --prompts FILE.jsonl.\n")
