"""Prompts with what is known of each, from files or a hub: what is trained on, and what is evaluated on."""

from lmalgebra.prompt_sets.reading import HUB, Item, PromptSet, Reader, load_prompts, read_rows, text_of, unique
from lmalgebra.prompt_sets.rows import ROWS

__all__ = ["HUB", "ROWS", "Item", "PromptSet", "Reader", "load_prompts", "read_rows", "text_of", "unique"]
