"""`--recipe` and `lmalgebra recipes`: every recipe speaks, options reach the formula, and mistakes are told."""

import pytest

from lmalgebra.algebra import Classifier, ModelTerm
from lmalgebra.algebra.recipes import RECIPES
from lmalgebra.cli.recipes import SYSTEM_PROMPTS, RecipeChoice
from lmalgebra.cli.voices import chosen_voice
from lmalgebra.models.classifiers import TextClassifier
from lmalgebra.models.loaded_classifiers import LoadedClassifiers

NEEDS_CLASSIFIER = [name for name, each in RECIPES.items() if "classifier" in each.parts]
TOY = ("--model", "toy", "--prompt", "hi.", "--max-new-tokens", "5")


def formula_of(name: str, *values: str, **options) -> str:
    return str(chosen_voice(None, None, None, RecipeChoice(name, list(values), **options)).formula)


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
    voice = chosen_voice(None, None, None, RecipeChoice("fudge", ["top_k=30"], classifier="./judge", label="kind"))
    (found,) = [term for term in voice.formula.leaves() if term.name == "classifier"]
    assert found.description == Classifier("./judge", "kind", top_k=30)
    assert str(voice.formula) == "base + 1 * classifier + within(base, top_k=30)"


def test_system_gives_a_part_or_a_new_term_its_prompt():
    choice = RecipeChoice("cfg", ["plain=dull"], systems=["prompted=Be bold.", "dull=Be dull."])
    terms = {term.name: term.description for term in chosen_voice(None, None, None, choice).terms}
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


def test_a_recipe_can_be_explained(lm):
    assert '"terms": ["expert", "antiexpert"]' in lm("explain", *TOY, "--recipe", "dexperts", "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--recipe", "dexpert"], "There is no recipe 'dexpert'. Did you mean 'dexperts'? Recipes: cfg, dexperts, "),
        (["--recipe", "fudge"], "The recipe fudge needs a classifier. Add --classifier FOLDER --label LABEL."),
        (["--recipe", "cfg", "--formula", "base"], "Both --formula and --recipe were given. Keep one of them."),
        (["--recipe", "cfg", "--set", "gama=3"], "The recipe cfg has no 'gama'. Did you mean 'gamma'? It takes: "),
        (["--recipe", "cfg", "--set", "gamma=poet"], "`gamma` of the recipe cfg is not a number. It takes: prompted, "),
        (["--recipe", "cfg", "--set", "plain=2"], "`plain` of the recipe cfg is not a formula. It takes: prompted, "),
        (["--recipe", "cfg", "--set", "gamma"], "--set 'gamma' is no name and value. Write --set alpha=1.5"),
        (["--recipe", "cfg", "--set", "gamma=1", "--set", "gamma=2"], "--set gamma was given twice. Keep one of them."),
        (["--recipe", "cfg", "--set", "plain=pot"], "`pot` is not a term.\n  pot\n  ^^^\nDid you mean `poet`? "),
        (["--recipe", "cfg", "--classifier", "x"], "The recipe cfg takes no classifier. It takes: prompted, plain, "),
        (["--recipe", "cfg", "--label", "x"], "--label belongs to a classifier. Add --classifier FOLDER."),
        (["--recipe", "dexperts", "--set", "top_p=2"], "top_p=2.0 of within is not above 0 and at most 1."),
        (["--recipe", "self-debias", "--set", "floor=1"], "floor=1.0 of self_debias is not from 0 to below 1."),
        (["--recipe", "contrastive", "--set", "temperature=0"], "temperature=0.0 of the amateur is not above 0."),
        (["--set", "alpha=2"], "--set belongs to a recipe. Add --recipe NAME; `lmalgebra recipes` lists the names."),
        (["--system", "a=b"], "--system belongs to a recipe."),
    ],
)
def test_a_mistake_is_told_in_a_sentence(lm, arguments, told):
    assert lm("run", *TOY, *arguments, code=2).stderr.startswith(f"error: {told}")


def test_a_recipe_needs_a_prompt(lm):
    told = lm("run", "--model", "toy", "--recipe", "cfg", code=2).stderr
    assert told.endswith("error: There is no prompt. Add --prompt TEXT, or --prompts FILE.jsonl.\n")
