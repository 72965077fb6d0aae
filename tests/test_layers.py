"""Who may import whom, read from the source of every file, and that importing the package stays quick.

The table below is the whole rule; a new arrow is a change of the table, to be argued for in review.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
ANY = None
FILES = ("json_lines", "settings_file")
BELOW_DECODING = ("alike", "errors", "algebra", "distributions", "models.base")


@dataclass(frozen=True)
class Layer:
    """`inside` holds the parts of lmalgebra it may import, `outside` the packages besides the standard library."""

    inside: tuple[str, ...]
    outside: tuple[str, ...] | None = ANY
    lazily: bool = False  # other layers only within functions


LAYERS = {
    "errors": Layer(inside=(), outside=()),
    "alike": Layer(inside=(), outside=()),
    "json_lines": Layer(inside=("errors",), outside=()),
    "settings_file": Layer(inside=("errors",), outside=()),
    "algebra": Layer(inside=("errors", "algebra"), outside=("tomli_w",)),
    "distributions": Layer(inside=("errors", "distributions"), outside=("torch", "numpy")),
    "models": Layer(inside=("alike", "errors", "algebra", "distributions", "models")),
    "decoding": Layer(inside=(*BELOW_DECODING, "decoding"), outside=("torch", "numpy", "jinja2")),
    "judges": Layer(inside=("errors", "models", "judges")),
    "prompt_sets": Layer(inside=("json_lines", *BELOW_DECODING, "models", "decoding", "judges", "prompt_sets")),
    "rewriting": Layer(inside=(*BELOW_DECODING, "models", "decoding", "judges", "prompt_sets", "rewriting")),
    "training": Layer(
        inside=(*FILES, *BELOW_DECODING, "models", "decoding", "judges", "prompt_sets", "rewriting", "training")
    ),
    "evaluation": Layer(inside=(*FILES, *BELOW_DECODING, "models", "decoding", "judges", "prompt_sets", "evaluation")),
    "serving": Layer(inside=(*FILES, *BELOW_DECODING, "decoding", "judges", "serving")),
}
LAYERS["api"] = Layer(inside=(*LAYERS, "api"))
LAYERS["cli"] = Layer(inside=(*LAYERS, "", "cli"), lazily=True)
LAYERS["__main__"] = LAYERS["cli"]
LAYERS[""] = Layer(inside=tuple(LAYERS))  # lmalgebra/__init__.py


@dataclass(frozen=True)
class Import:
    """One imported name: `target` with its dots, where it stands, and whether it runs with the module."""

    target: str
    line: int
    at_once: bool


def imports(tree: ast.AST, package: str, at_once: bool = True) -> Iterator[Import]:
    """Every import under `tree`; relative ones are resolved against `package`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(name.name, node.lineno, at_once) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *([node.module] if node.module else [])])
            yield from (Import(f"{module}.{name.name}", node.lineno, at_once) for name in node.names)
        else:
            yield from imports(node, package, at_once and not _waits(node))


def _waits(node: ast.AST) -> bool:
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    return is_function or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))


def violations(source: str, module: str) -> list[str]:
    """One sentence for each import in `source` that `module` (its dotted name) may not have.

    A package is named with its `__init__`, such as `lmalgebra.algebra.__init__`.
    """
    package = module.rpartition(".")[0]
    name = module.removesuffix(".__init__").removeprefix("lmalgebra").lstrip(".").partition(".")[0]
    if name not in LAYERS:
        return [f"{module} is in no known layer"]
    found = []
    for one in imports(ast.parse(source), package):
        complaint = _complaint(one, name, LAYERS[name])
        if complaint:
            found.append(f"{module}:{one.line} {complaint}")
    return found


def _complaint(one: Import, name: str, layer: Layer) -> str:
    top, _, rest = one.target.partition(".")
    if top != "lmalgebra":
        outside = layer.outside is ANY or top in layer.outside or top in sys.stdlib_module_names
        return "" if outside else f"imports {top}"
    # `from lmalgebra import x` names a part or, where there is none of that name, the package itself.
    part = rest if rest.partition(".")[0] in LAYERS else ""
    if not any(part == allowed or (allowed and part.startswith(f"{allowed}.")) for allowed in layer.inside):
        return f"imports {one.target}"
    foreign = part.partition(".")[0] not in (name, "errors", *FILES)
    return f"imports {one.target} outside a function" if layer.lazily and one.at_once and foreign else ""


def _module(file: Path) -> str:
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts)


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=_module)
def test_a_file_imports_only_what_its_layer_may(file):
    assert violations(file.read_text(), _module(file)) == []


@pytest.mark.parametrize(
    ("module", "source", "sentence"),
    [
        ("algebra.formula", "import torch", "imports torch"),
        ("algebra.formula", "def f():\n    import numpy.linalg", "imports numpy"),
        ("algebra.__init__", "from ..models import table", "imports lmalgebra.models.table"),
        ("distributions.combine", "from lmalgebra.algebra import Term", "imports lmalgebra.algebra.Term"),
        ("distributions.combine", "from lmalgebra import voice", "imports lmalgebra.voice"),
        ("models.table", "from lmalgebra.decoding import plan", "imports lmalgebra.decoding.plan"),
        ("decoding.plan", "from lmalgebra.models import table", "imports lmalgebra.models.table"),
        ("decoding.plan", "import lmalgebra.models", "imports lmalgebra.models"),
        ("decoding.plan", "from ..models.baseline import x", "imports lmalgebra.models.baseline.x"),
        ("training.loop", "from lmalgebra.evaluation import report", "imports lmalgebra.evaluation.report"),
        ("serving.app", "from lmalgebra import cli", "imports lmalgebra.cli"),
        ("errors", "from .algebra import x", "imports lmalgebra.algebra.x"),
        ("cli", "from lmalgebra import models", "imports lmalgebra.models outside a function"),
        ("cli", "try:\n    import lmalgebra.api\nfinally: pass", "imports lmalgebra.api outside a function"),
    ],
)
def test_the_check_finds_a_planted_import(module, source, sentence):
    (found,) = violations(source, f"lmalgebra.{module}")
    assert found.endswith(sentence)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("algebra.voice", "import tomllib, tomli_w\nfrom lmalgebra.errors import VoiceError\nfrom . import formula"),
        ("decoding.plan", "from lmalgebra.models.base import Row\nfrom ..models import base\nimport torch.nn"),
        ("models.catalog", "from lmalgebra.algebra.voice import Description\nimport transformers"),
        ("cli", "import typer\nfrom lmalgebra.errors import X\ndef run():\n    from lmalgebra.serving import app"),
        ("cli", "def version():\n    from lmalgebra import __version__"),
        ("__init__", "from lmalgebra.algebra import parse"),
    ],
)
def test_the_check_lets_pass_what_is_allowed(module, source):
    assert violations(source, f"lmalgebra.{module}") == []


def test_a_file_in_no_layer_is_found():
    assert violations("", "lmalgebra.utils.misc") == ["lmalgebra.utils.misc is in no known layer"]


@pytest.mark.parametrize("module", ["lmalgebra", "lmalgebra.cli", "lmalgebra.algebra", "lmalgebra.models.catalog"])
def test_importing_is_quick(module):
    code = f"import sys, {module}; print(*sorted({{'torch', 'transformers', 'numpy'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
