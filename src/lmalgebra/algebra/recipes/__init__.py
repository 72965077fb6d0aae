"""Published methods of steering, by name: each makes a formula from terms."""

from lmalgebra.algebra.recipes.book import RECIPES, Recipe, recipe
from lmalgebra.algebra.recipes.methods import (
    cfg,
    context_aware,
    contrastive,
    dexperts,
    fudge,
    gedi,
    preadd,
    product_of_experts,
    proxy_tuning,
    self_debias,
    union_detox,
    union_detox_classifier,
)

__all__ = [
    "RECIPES",
    "Recipe",
    "cfg",
    "context_aware",
    "contrastive",
    "dexperts",
    "fudge",
    "gedi",
    "preadd",
    "product_of_experts",
    "proxy_tuning",
    "recipe",
    "self_debias",
    "union_detox",
    "union_detox_classifier",
]
