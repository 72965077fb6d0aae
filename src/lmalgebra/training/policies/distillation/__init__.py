"""Distillation: a small model learns to speak like a larger one, or like any formula."""
