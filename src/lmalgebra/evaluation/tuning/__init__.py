"""The search for weights that grant a wish."""
