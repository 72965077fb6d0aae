"""Self-contained HTML pages: templates of this folder with blocks of HTML in them. What they share with the playground
comes from its files.
"""

import re
from collections.abc import Mapping
from importlib.resources import files

MODULES = ("dom.js", "panel.js")
"""The playground's modules that pages use, each after those that it imports."""


def filled(template: str, blocks: Mapping[str, str]) -> str:
    """A template with each marker, such as @TITLE@, replaced by its block."""
    whole = {"STYLE": shared("page.css"), "TOKENSTYLE": shared("tokens.css"), "SCRIPT": _script()} | dict(blocks)
    text = files("lmalgebra.cli").joinpath(template).read_text(encoding="utf-8")
    # One pass over the template's own text, so that a marker within what was said stays as it is.
    return re.sub("@([A-Z]+)@", lambda marker: whole[marker[1]], text)


def _script() -> str:
    """The modules as one, which a page without files beside it can hold."""
    return re.sub(r"^import .*\n", "", "".join(map(shared, MODULES)), flags=re.MULTILINE)


def shared(name: str) -> str:
    """The text of one of the playground's files."""
    return files("lmalgebra.serving").joinpath("playground", name).read_text(encoding="utf-8")
