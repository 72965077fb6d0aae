"""Groups as Parquet, which data sets of hubs are kept in, by Arrow where it is installed."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lmalgebra.errors import MissingExtraError, TrainingError
from lmalgebra.training.paraphrases.settings import SIDES


def check_parquet() -> None:
    """Raise MissingExtraError where Arrow is not installed."""
    if find_spec("pyarrow") is None:
        raise MissingExtraError(
            "Parquet needs the package 'pyarrow'.", "Install it: pip install 'lmalgebra[evaluate]', or write .jsonl."
        )


def write_parquet(lines: Path, output: Path) -> Path:
    """The groups in `lines` as one Parquet file, which appears whole. Raises TrainingError where it cannot be written.

    It has the texts and what was measured, column by column.
    """
    import pyarrow
    import pyarrow.parquet

    rows = [json.loads(line) for line in lines.read_bytes().splitlines()]
    draft = output.with_name(f".{output.name}.new")
    try:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=_schema(pyarrow)), draft)
        os.replace(draft, output)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise TrainingError(
            f"'{output}' cannot be written: {error.strerror or error}.", f"The groups are in {lines}."
        ) from None
    return output


def _schema(arrow: Any) -> Any:
    """Named, so that a file without any group has the same columns."""
    texts = arrow.list_(arrow.string())
    measure = arrow.struct([(name, arrow.float64()) for name in ("score", "similarity", "likelihood_gap")])
    sides = [(side, arrow.list_(measure)) for side in SIDES]
    columns = [("anchor", arrow.string()), *((side, texts) for side in SIDES), ("measured", arrow.struct(sides))]
    return arrow.schema([*columns, ("id", arrow.string()), ("place", arrow.string())])
