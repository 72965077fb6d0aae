"""Self-contained HTML pages: templates of this folder, which share a style sheet, with blocks of HTML in them."""

import re
from collections.abc import Mapping
from importlib.resources import files


def filled(template: str, blocks: Mapping[str, str]) -> str:
    """A template with each marker, such as @TITLE@, replaced by its block."""
    folder = files("lmalgebra.cli")
    whole = {"STYLE": folder.joinpath("page.css").read_text(encoding="utf-8")} | dict(blocks)
    text = folder.joinpath(template).read_text(encoding="utf-8")
    # One pass over the template's own text, so that a marker within what was said stays as it is.
    return re.sub("@([A-Z]+)@", lambda marker: whole[marker[1]], text)
