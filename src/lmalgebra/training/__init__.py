"""Training: what a formula's terms are made of."""
