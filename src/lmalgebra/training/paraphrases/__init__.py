"""Groups to learn by contrast: sentences, and paraphrases of each that have an attribute and that lack it."""
