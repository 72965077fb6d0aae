"""Other models' answers, rewritten behind the server: as `la.rewrite` does it, and what is refused."""

import http.client
import json
from types import SimpleNamespace

import pytest

import lmalgebra as la
from lmalgebra.judges import FunctionJudge
from lmalgebra.rewriting.cleaning import cleaned
from lmalgebra.serving import ServerSettings
from lmalgebra.serving.apart import Judging
from lmalgebra.serving.errors import ApiError
from lmalgebra.serving.rewrite import Rewriters
from lmalgebra.serving.schema import RewriteRequest
from serving.conftest import JUDGE, REWRITER, TOY

GIVEN = ["see the bee", "a b c", {"text": "e e e", "prompt": "who?"}]
REWRITE = "/v1/rewrite"


@pytest.fixture(scope="module")
def judge():
    space = {}
    exec(JUDGE, space)
    return FunctionJudge("share", space["share"], "1")


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    path = tmp_path_factory.mktemp("here") / "toy.toml"
    path.write_text(TOY)
    return la.load(path)


@pytest.mark.parametrize(
    "wanted", [{}, {"above": 0.3}, {"better": True}, {"similarity": 0.999}, {"above": 0.3, "better": True}], ids=str
)
def test_texts_are_rewritten_as_by_the_command(served, voice, judge, encoder, wanted):
    answer = served.post(REWRITE, input=GIVEN, tries=3, seed=5, max_tokens=9, **wanted)
    generation = {"samples": 3, "seed": 5, "max_new_tokens": 9}
    expected = la.rewrite(
        voice, GIVEN, judge=judge, embedder=str(encoder), generation=generation, template=REWRITER, **wanted
    )
    for told, each in zip(answer["data"], expected, strict=True):
        assert (told["text"], told["kept"] or "") == (each.after, each.kept)
        assert (told["score_before"], told["score_after"]) == (each.score_before, each.score_after)
        assert told["similarity"] == pytest.approx(each.similarity)
    assert answer["lmalgebra"] == {"formula": "base + 0.6 * (formal - base)", "seed": 5}


def test_one_text_is_said_again(served, voice):
    before = served.metric('lmalgebra_generated_tokens_total{voice="toy"}')
    answer = served.post(REWRITE, input="you", seed=2)
    (sample,) = voice.generate("say you to ", seed=2).samples
    assert answer["data"][0]["text"] == cleaned(sample.text, one_line=False)
    assert answer["usage"] == {
        "prompt_tokens": len("say you to \n"),
        "completion_tokens": len(sample.tokens),
        "total_tokens": len("say you to \n") + len(sample.tokens),
    }
    assert served.metric('lmalgebra_generated_tokens_total{voice="toy"}') == before + len(sample.tokens)


def test_what_the_judge_finds_well_costs_no_token(served):
    answer = served.post(REWRITE, input=["a b c", ""], above=0.3)
    assert [each["kept"] for each in answer["data"]] == ["The judge finds nothing to mend.", "The answer is empty."]
    assert [each["text"] for each in answer["data"]] == ["a b c", ""]
    assert answer["usage"]["total_tokens"] == 0


def test_a_formula_of_the_request_rewrites(served):
    answer = served.post(REWRITE, input="you", formula="formal", temperature=0)
    assert answer["lmalgebra"]["formula"] == "formal"


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"model": "second"}, 403, "not_allowed", "model"),
        ({"model": "nobody"}, 404, "model_not_found", "model"),
        ({"input": []}, 400, "invalid_value", "input"),
        ({"input": [3]}, 400, "invalid_value", "input.0"),
        ({"input": [{"prompt": "x"}]}, 400, "missing_required_parameter", "input.0.text"),
        ({"input": [{"text": "a", "prompt": []}]}, 400, "invalid_value", "input.0.prompt"),
        ({"input": ["a"] * 4}, 400, "invalid_value", "input"),
        ({"input": "a" * 5001}, 400, "context_length_exceeded", "input"),
        ({"input": "a" * 4900}, 400, "invalid_prompt", None),
        ({"input": "é"}, 400, "invalid_prompt", None),
        ({"above": 1.5}, 400, "invalid_value", "above"),
        ({"tries": 5}, 400, "invalid_value", "tries"),
        ({"tries": 0}, 400, "invalid_value", "tries"),
        ({"n": 2}, 400, "unknown_parameter", "n"),
        ({"stream": True}, 400, "unknown_parameter", "stream"),
        ({"tries": 4, "max_tokens": 3900, "input": ["a"] * 3}, 400, "request_too_expensive", None),
        ({"input": [{"text": "a", "prompt": [{"role": "assistant", "content": "x"}]}]}, 400, "invalid_prompt", None),
    ],
    ids=lambda each: str(each)[:50],
)
def test_what_cannot_be_rewritten_is_refused(served, body, status, code, param):
    found, error = served.refusal(REWRITE, {"model": "toy", "input": "you"} | body)
    assert (found, error["code"], error["param"]) == (status, code, param), error


@pytest.mark.parametrize("wanted", [{"above": 0.5}, {"better": True}, {"similarity": 0.5}], ids=str)
def test_what_the_server_lacks_is_said(wanted):
    bare = Rewriters(ServerSettings(("x",), rewriters={"toy": ""}), ["toy"], Judging())
    toy = SimpleNamespace(name="toy")
    assert bare.rewriting(RewriteRequest(model="toy", input="x"), toy).settings.template.startswith("Say it in other")
    with pytest.raises(ApiError, match=f"{next(iter(wanted))} needs .*, and this server has none"):
        bare.rewriting(RewriteRequest(model="toy", input="x", **wanted), toy)


def test_a_text_that_cannot_be_judged_is_rewritten_without_a_score(served):
    (told,) = served.post(REWRITE, input="break", above=0.9)["data"]
    assert (told["score_before"], told["kept"]) == (None, None)
    (told,) = served.post(REWRITE, input="break", better=True)["data"]
    assert (told["text"], told["kept"]) == ("break", "The judge gives no score.")


def test_a_client_that_leaves_frees_its_place(served):
    before = served.metric('lmalgebra_cancelled_total{voice="toy"}')
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    body = json.dumps({"model": "toy", "input": "you", "max_tokens": 3900, "min_tokens": 3900})
    connection.request("POST", REWRITE, body, {"Content-Type": "application/json"})
    served.wait_for(lambda: served.metric("lmalgebra_requests_in_hand") == 1)
    connection.close()
    served.wait_for(lambda: served.metric("lmalgebra_requests_in_hand") == 0)
    assert served.metric('lmalgebra_cancelled_total{voice="toy"}') == before + 1
    entries = served.wait_for(lambda: [each for each in served.logged("request") if each["status"] == 499])
    assert entries[-1].get("completion_tokens", 0) < 3900
