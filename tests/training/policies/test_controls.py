"""Where a control text stands in what a term reads, and what it leaves alone."""

import pytest

from lmalgebra.algebra import Model
from lmalgebra.decoding.context import context_tokens, conversation
from lmalgebra.models.table import TableModel
from lmalgebra.training.policies.controls import controlled

TOY = TableModel().language_model()
MODEL = Model(source="toy")


@pytest.mark.parametrize(
    ("term", "read"),
    [
        (MODEL.term(name="a", prefix=""), "best. hello"),
        (MODEL.term(name="a", prefix="well: "), "best. well: hello"),
        (MODEL.term(name="a", template="q: {{ prompt }}"), "best. q: hello"),
        (MODEL.term(name="a", system="be kind."), "best. be kind.\nhello\n"),
        (MODEL.term(name="a"), "best. \nhello\n"),
    ],
)
def test_a_control_text_stands_first(term, read):
    told = controlled(term, "best. ", TOY.tokenizer)
    assert told.name == "a"
    assert TOY.tokenizer.decode(context_tokens(told, TOY, conversation("hello"))) == read
    assert controlled(term, "", TOY.tokenizer) is term


def test_a_control_text_is_no_template():
    class Spelled(type(TOY.tokenizer)):
        def encode(self, parts, start=True):
            return ["".join(parts)]

    term = controlled(MODEL.term(name="a", template="{{ prompt }}"), "{{ 1 }}{% x %}{# c #}\n", TOY.tokenizer)
    told = type(TOY)("toy", TOY.session, Spelled(TableModel()))
    assert context_tokens(term, told, conversation("hello")) == ["{{ 1 }}{% x %}{# c #}\nhello"]
