"""Published methods on the command line: `lmalgebra recipes` lists them, `--recipe NAME` speaks by one."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lmalgebra.cli import options
from lmalgebra.cli.console import say
from lmalgebra.errors import VoiceError

if TYPE_CHECKING:
    from lmalgebra.algebra import Formula, Model, Term, Voice
    from lmalgebra.algebra.recipes import Recipe

CLASSIFIER = "classifier"


@dataclass(frozen=True)
class RecipeChoice:
    """What the options say of a recipe, as they were given."""

    name: options.RecipeName = None
    values: options.RecipeValues = None
    systems: options.RecipeSystems = None
    classifier: options.RecipeClassifier = None
    label: options.RecipeLabel = None
    unwanted: options.RecipeUnwanted = None

    @property
    def is_made(self) -> bool:
        """Whether a recipe was asked for. Raises VoiceError when only its other options were given."""
        options = {
            "--set": self.values,
            "--system": self.systems,
            "--classifier": self.classifier,
            "--label": self.label,
            "--unwanted": self.unwanted,
        }
        for option, value in options.items():
            if value and self.name is None:
                raise VoiceError(
                    f"{option} belongs to a recipe.", "Add --recipe NAME; `lmalgebra recipes` lists the names."
                )
        for option in ("--label", "--unwanted"):
            if options[option] and not self.classifier:
                raise VoiceError(f"{option} belongs to a classifier.", "Add --classifier FOLDER.")
        if self.label and self.unwanted:
            raise VoiceError("Both --label and --unwanted were given.", "Keep one of them.")
        return self.name is not None


def list_recipes() -> None:
    """List the published methods: papers, formulas, and what each takes."""
    from lmalgebra.algebra.recipes import RECIPES

    blocks = [
        f"{each.name}: {each.title}\n  paper    {each.paper}\n  formula  {each.formula}\n  takes    {each.described}"
        for each in RECIPES.values()
    ]
    print("\n\n".join(blocks))


def with_recipe(voice: "Voice", choice: RecipeChoice, is_built_in: bool) -> "Voice":
    """`voice` speaking by the recipe that was chosen, which is told on standard error.

    Parts are the terms of their names; for the built-in voice they are prompts. Raises FormulaError and VoiceError.
    """
    from lmalgebra.algebra.recipes import recipe
    from lmalgebra.algebra.recipes.prompts import SYSTEM_PROMPTS

    chosen = recipe(choice.name or "")
    terms = {term.name: term for term in voice.terms}
    if is_built_in:
        (model,) = voice.models
        terms |= {name: model.term(name=name, system=text) for name, text in SYSTEM_PROMPTS[chosen.name].items()}
    prompted = _pairs("--system", choice.systems)
    for name, text in prompted:
        terms[name] = _prompted(name, text, terms, voice.models)
    values = chosen.checked(_values(chosen, choice.values, terms))
    if choice.classifier is not None:
        terms[CLASSIFIER] = _classifier(chosen, choice, values)
    formula = chosen.build(_parts(chosen, terms, values) | values)
    _require_use(chosen, formula, [name for name, _ in prompted])
    say(f"{chosen.title} ({chosen.paper}): {formula}")
    return replace(voice, formula=formula, terms=tuple(terms.values()))


def _pairs(option: str, given: Iterable[str] | None, several: Iterable[str] = ()) -> list[tuple[str, str]]:
    """The names and values of an option; only a name among `several` may come again. Raises VoiceError."""
    pairs = []
    for text in given or ():
        name, found, value = text.partition("=")
        if not found or not name.strip() or not value.strip():
            example = "alpha=1.5" if option == "--set" else 'base="You are a poet."'
            raise VoiceError(f"{option} {text!r} is no name and value.", f"Write {option} {example}")
        pairs.append((name.strip(), value.strip()))
    for name, count in Counter(name for name, _ in pairs).items():
        if count > 1 and name not in several:
            raise VoiceError(f"{option} {name} was given twice.", "Keep one of them.")
    return pairs


def _prompted(name: str, text: str, terms: "dict[str, Term]", models: "tuple[Model, ...]") -> "Term":
    """The term of that name under another system prompt, or a new one."""
    from lmalgebra.algebra import ModelTerm

    known = terms.get(name)
    if known is not None and isinstance(known.description, ModelTerm):
        return replace(known, description=replace(known.description, system=text))
    if len(models) != 1:
        raise VoiceError(f"--system {name}=... cannot say which model the term speaks by.", "Add it to the voice file.")
    return models[0].term(name=name, system=text)


def _values(recipe: "Recipe", given: Iterable[str] | None, terms: "dict[str, Term]") -> dict[str, Any]:
    """What `--set` says: numbers and schedules, and formulas over the terms; a list where a part is given again."""
    from lmalgebra.algebra import Constant, parse

    values: dict[str, Any] = {}
    for name, text in _pairs("--set", given, recipe.several):
        formula = parse(text, terms)
        value = formula.weight if isinstance(formula, Constant) else formula
        values[name] = [*values.get(name, []), value] if name in recipe.several else value
    return values


def _classifier(recipe: "Recipe", choice: RecipeChoice, values: dict[str, Any]) -> "Term":
    from lmalgebra.algebra import classifier

    if CLASSIFIER not in recipe.parts:
        raise VoiceError(f"The recipe {recipe.name} takes no classifier.", f"It takes: {recipe.described}.")
    if CLASSIFIER in values:
        raise VoiceError("Both --classifier and --set classifier=... were given.", "Keep one of them.")
    top_k = (recipe.parameters | values).get("top_k")
    scored = {} if top_k is None else {"top_k": top_k}
    label, sign = (choice.unwanted, -1) if choice.unwanted else (choice.label or "", 1)
    return classifier(choice.classifier or "", label, name=CLASSIFIER, sign=sign, **scored)


def _require_use(recipe: "Recipe", formula: "Formula", prompted: Iterable[str]) -> None:
    """Raises VoiceError for a prompt of a term that the formula does not hold: its name may be mistyped."""
    used = [term.name for term in formula.leaves()]
    for name in prompted:
        if name not in used:
            raise VoiceError(
                f"--system {name}=... changes nothing: the formula holds no term `{name}`.",
                f"Its terms are: {', '.join(used)}; --set says which term is a part, such as "
                f"--set {recipe.parts[0]}={name}.",
            )


def _parts(recipe: "Recipe", terms: "dict[str, Term]", values: dict[str, Any]) -> "dict[str, Formula]":
    """The terms that are named as the recipe's parts. Raises VoiceError for one that neither is there nor is set."""
    for part in recipe.parts:
        if part not in terms and part not in values:
            if part == CLASSIFIER:
                raise VoiceError(
                    f"The recipe {recipe.name} needs a classifier.",
                    "Add --classifier FOLDER, with --label LABEL or --unwanted LABEL.",
                )
            raise VoiceError(
                f"The recipe {recipe.name} needs the term `{part}`, which the voice does not have.",
                f"Say which of its terms it is, such as --set {part}={next(iter(terms), 'base')}.",
            )
    return {part: terms[part] for part in recipe.parts if part in terms}
