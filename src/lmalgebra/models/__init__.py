"""Language models behind one interface: a session of rows, and a tokenizer. Backends are imported where used."""

from lmalgebra.models.base import LanguageModel, Message, Row, Session, Tokenizer, vocabulary_difference

__all__ = ["LanguageModel", "Message", "Row", "Session", "Tokenizer", "vocabulary_difference"]
