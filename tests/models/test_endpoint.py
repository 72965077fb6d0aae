"""A remote's rows over a real http server of the toy table: what is asked, what is made of the answers, what is seen.

The contract suite has rows and their logits, with every token told.
"""

from math import exp, log

import pytest
import torch

from lmalgebra.errors import ModelError
from lmalgebra.models.connection import Connection
from lmalgebra.models.endpoint import Endpoint, EndpointSession
from lmalgebra.models.table import TableModel, TableTokenizer
from lmalgebra.models.token_names import TokenNames
from toy_server import CONTENT, IDS, TEXT, ToyServer, serving

HALVES = TableModel(
    pieces=("a", "b", "c", "d", "<end>"),
    order=1,
    rows={("a",): (0.5, 0.3, 0.1, 0.06, 0.04), ("b",): (0.2, 0.1, 0.05, 0.05, 0.6), ("c",): (0.0, 1.0, 0.0, 0.0, 0.0)},
)
END = 4


@pytest.fixture
def toy():
    with serving(ToyServer(HALVES)) as server:
        yield server


def session_over(toy: ToyServer, top: int = 5, sends_ids: bool = True, wants_ids: bool = False) -> EndpointSession:
    names = TokenNames(TableTokenizer(toy.table))
    endpoint = Endpoint(Connection(toy.address), names, "toy", top, sends_ids, wants_ids)
    return EndpointSession(endpoint, 100, END)


def after(session: EndpointSession, *tokens: int) -> list[float]:
    """Probabilities after a fresh row of `tokens`."""
    return session.extend({session.open(): tokens}).popitem()[1][-1].exp().tolist()


# what is asked


def test_each_wanted_position_is_one_question(toy):
    session = session_over(toy, top=2)
    session.extend({session.open([0]): [1, 2, 0], session.open(): [1]}, {0: 2})
    assert sorted(question["prompt"] for question in toy.asked) == [[0, 1, 2], [0, 1, 2, 0], [1]]
    for question in toy.asked:
        del question["prompt"]
        assert question == {"model": "toy", "max_tokens": 1, "temperature": 0, "logprobs": 2}


def test_nothing_is_asked_where_nothing_is_wanted(toy):
    session = session_over(toy)
    row = session.open([0, 1])
    assert session.extend({row: [2, 3]}, {row: 0})[row].shape == (0, 5)
    session.fork(row)
    assert toy.asked == []
    assert session.seen.positions == 0


def test_text_is_sent_where_the_server_takes_no_ids(toy):
    session = session_over(toy, sends_ids=False)
    assert after(session, 0, 1, 0) == pytest.approx(HALVES.rows[("a",)])
    assert sorted(question["prompt"] for question in toy.asked) == ["a", "ab", "aba"]  # they are asked at once
    assert session.seen.reworded == 0


def test_rows_that_text_cannot_tell_are_counted(toy):
    toy.table = TableModel(pieces=("a", "b", "ab", "<end>"))
    session = session_over(toy, sends_ids=False)
    session.extend({session.open(): [0, 1]})
    assert session.seen.reworded == 1
    assert str(session.seen).endswith("At 1 of them it read the text as other tokens.")


# what is made of the answers


@pytest.mark.parametrize(("names", "wants_ids"), [(CONTENT, False), (TEXT, False), (IDS, True)])
def test_every_way_of_naming_tokens_gives_the_table(toy, names, wants_ids):
    toy.names = names
    session = session_over(toy, wants_ids=wants_ids)
    for piece, row in HALVES.rows.items():
        assert after(session, HALVES.pieces.index(piece[0])) == pytest.approx(row)
    assert (session.seen.mean, session.seen.least) == (pytest.approx(1), pytest.approx(1))


def test_what_is_not_told_takes_a_share_of_the_rest(toy):
    """After a: 0.5 and 0.3 are told, and 0.2 is left for three. After b: 0.6 and 0.2, and 0.2 for three."""
    session = session_over(toy, top=2)
    assert after(session, 0) == pytest.approx([0.5, 0.3, 0.2 / 3, 0.2 / 3, 0.2 / 3])
    assert after(session, 1) == pytest.approx([0.2, 0.2 / 3, 0.2 / 3, 0.2 / 3, 0.6])
    assert after(session, 2)[1] == pytest.approx(1)
    seen = session.seen
    assert (seen.positions, seen.mean, seen.least) == (3, pytest.approx((0.8 + 0.8 + 1) / 3), pytest.approx(0.8))
    assert str(seen) == (
        "told 86.67% of the probability on average and 80.00% at least, at 3 positions; what is left is spread over "
        "the other tokens, so the formula's law is approximate."
    )


def test_an_end_that_the_server_hides_takes_what_is_left(toy):
    """After b the end is the likeliest, but the server tells nothing of it: asked again, it tells of 0.2 and 0.1."""
    toy.names, toy.hides_end = TEXT, True
    session = session_over(toy, top=3)
    found = after(session, 1)
    assert found[:2] == pytest.approx([0.2, 0.1])
    assert found[END] == pytest.approx(0.7)
    assert found[2:END] == pytest.approx([0, 0], abs=1e-6)
    assert session.seen.least == pytest.approx(0.3)
    assert [question.get("logit_bias") for question in toy.asked] == [None, {"0": 100}]


def test_a_hidden_end_that_is_not_the_likeliest_is_an_unseen_token(toy):
    """After a, with all five told: 0.04 is of a name that no token has."""
    toy.names, toy.hides_end = TEXT, True
    session = session_over(toy, top=5)
    assert after(session, 0) == pytest.approx([0.5, 0.3, 0.1, 0.06, 0.04])
    assert session.seen.least == pytest.approx(0.96)


def test_the_servers_own_token_does_not_lower_the_bound(toy):
    """It may be far less likely than the top ones, and is told of beside them."""
    toy.names = TEXT
    toy.table = TableModel(pieces=("a", "b", "c", "d", "<end>"), order=0, rows={(): (0.0001, 0.0999, 0.1, 0.2, 0.6)})
    session = session_over(toy, top=1)
    toy.troubles.append(lambda handler: handler.answer(200, _completion(None, "stop")))
    found = after(session, 0)
    assert found[0] == pytest.approx(0.0001)
    assert found[1] == pytest.approx(0.3999 / 3, abs=1e-3)


def test_the_note_says_that_it_is_approximate(toy):
    assert session_over(toy, top=5).notes == ()
    (note,) = session_over(toy, top=4).notes
    assert note == (
        f"The remote at {toy.address} tells the 4 likeliest tokens of each position, and the others take a share of "
        "what is left: formulas over it are approximate. A larger top_logprobs tells more, and top_k keeps to the "
        "likeliest."
    )


# what cannot be used


def _completion(logprobs, reason="length"):
    return {"choices": [{"text": "", "index": 0, "logprobs": logprobs, "finish_reason": reason}]}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (_completion(None), "gives no log-probabilities with its completions. A term needs them: switch them on there"),
        (_completion({"top_logprobs": [], "tokens": []}), "gives no log-probabilities with its completions."),
        (_completion({"top_logprobs": [None]}), "gives no log-probabilities with its completions."),
        ({"choices": []}, "answers with something that is no completion of one prompt. Check that the address is"),
        ({"choices": [{}, {}]}, "answers with something that is no completion of one prompt."),
        ([1, 2], "answers with something that is no completion of one prompt."),
        (
            _completion({"top_logprobs": [{"a": "likely"}]}),
            "answers with something that is no completion of one prompt",
        ),
        (_completion({"top_logprobs": [{"a": float("nan")}]}), "answers with something that is no completion"),
        (_completion({"content": [{"token": "a"}]}), "answers with something that is no completion of one prompt."),
    ],
)
def test_answers_that_cannot_be_used_change_no_row(toy, answer, message):
    session = session_over(toy)
    row = session.open([0])
    toy.troubles.extend([lambda handler: handler.answer(200, answer)] * 2)
    with pytest.raises(ModelError) as refusal:
        session.extend({row: [1]})
    assert f"The server at {toy.address} {message}" in str(refusal.value)
    assert session.length(row) == 1
    toy.troubles.clear()
    assert session.extend({row: [1]})[row].exp().tolist() == [pytest.approx(HALVES.rows[("b",)])]


def test_tokens_that_the_vocabulary_does_not_have_are_unseen(toy):
    told = {"a": log(0.5), "zz": log(0.25), "token_id:77": log(0.125)}
    toy.troubles.append(lambda handler: handler.answer(200, _completion({"top_logprobs": [told]})))
    session = session_over(toy, top=3)
    assert after(session, 0) == pytest.approx([0.5] + [0.125] * 4)
    assert session.seen.mean == pytest.approx(0.5)


def test_a_chats_kind_of_answer_without_ids_goes_by_bytes_and_names(toy):
    top = [{"token": "\ufffd", "bytes": [97], "logprob": log(0.5)}, {"token": "b", "bytes": None, "logprob": log(0.3)}]
    content = [{"token": "c", "bytes": [99], "logprob": log(0.1), "top_logprobs": top}]
    toy.troubles.append(lambda handler: handler.answer(200, _completion({"content": content})))
    assert after(session_over(toy, top=2), 0) == pytest.approx([0.5, 0.3, 0.1, 0.05, 0.05])


def test_an_adapter_is_its_servers(toy):
    with pytest.raises(ModelError, match=r"a remote's adapters are at its server\. Name the model .* in `served`"):
        session_over(toy).open([0], adapter="mine")


def test_all_positions_of_a_long_row_are_asked_for_in_parts(toy, monkeypatch):
    monkeypatch.setattr("lmalgebra.models.endpoint.QUESTIONS_AT_ONCE", 7)
    session = session_over(toy)
    row = session.open()
    found = session.extend({row: [0, 1] * 10})[row]
    expected = torch.stack([HALVES.logprobs([0, 1][: 1 + i % 2]) for i in range(20)])
    torch.testing.assert_close(found, expected, check_dtype=False)
    assert found.exp().sum(-1).tolist() == pytest.approx([1] * 20)
    assert exp(float(found[0, 0])) == pytest.approx(0.5)
