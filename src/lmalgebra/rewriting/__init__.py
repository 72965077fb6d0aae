"""Texts in another form: who writes them, how answers are cleaned, and how other models' answers are rewritten."""
