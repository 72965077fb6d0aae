"""The published schema, tried out: made-up requests get no failure, only statuses that it names, and its answers.

Requests that fit the schema are mostly refused for what a schema cannot say, such as a voice's name or a text that its
vocabulary lacks, so what is made up is seasoned with what this server knows.
"""

import json
from collections import Counter

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
FEW, MANY = 25, 150
POSTS = ("/v1/chat/completions", "/v1/completions", "/v1/score", "/v1/rewrite")
GETS = ("/v1/models", "/v1/models/{name}", "/health", "/ready", "/metrics")

TEXT = {"type": "string", "minLength": 1, "maxLength": 40, "pattern": "^[a-z ,.]+$"}
KNOWN = {
    "model": {"enum": ["toy"]},
    "formula": {"anyOf": [{"enum": ["base", "2 * base - formal", "base + short"]}, {"type": "string"}]},
    "max_tokens": {"type": "integer", "minimum": 1, "maximum": 30},
    "max_completion_tokens": {"type": "null"},
    "min_tokens": {"type": "integer", "minimum": 0, "maximum": 3},
    "n": {"type": "integer", "minimum": 1, "maximum": 4},
    "tries": {"type": "integer", "minimum": 1, "maximum": 4},
    "best_of": {"type": "null"},
    "prompt": TEXT,
    "input": {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 3},
    "content": TEXT,
    "messages": {"type": "array", "items": {"$ref": "#/components/schemas/ChatMessage"}, "minItems": 1, "maxItems": 3},
    "continuation": TEXT,
    "logit_bias": {"type": "object", "patternProperties": {"^[1-9]$": {"type": "number", "minimum": -9, "maximum": 9}},
                   "additionalProperties": False, "maxProperties": 2},
    "terms": {"type": "null"},
    "negative_prompt": {"type": "null"},
    "stream_options": {"type": "null"},
    "response_format": {"enum": [None, {"type": "text"}]},
    "repetition_penalty": {"type": "number", "minimum": 0.5, "maximum": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def published(served):
    return served.request("GET", "/openapi.json")[1]


def seasoned(published):
    """The schema with values that this server knows, so that more than refusals is seen."""
    found = json.loads(json.dumps(published))
    for name, schema in found["components"]["schemas"].items():
        if name.endswith("Request") or name == "ChatMessage":
            for key in schema["properties"].keys() & KNOWN.keys():
                schema["properties"][key] = KNOWN[key]
    score = found["components"]["schemas"]["ScoreRequest"]
    score["properties"]["messages"] = {"type": "null"}  # either they or a prompt
    score["required"].append("prompt")
    return found


def try_out(served, schema, path, mode, examples):
    """How often each status came; raises where an answer is not as the schema has it."""
    (method,) = schema["paths"][path]
    operation = schemathesis.openapi.from_dict(schema)[path][method.upper()]
    statuses = Counter()

    @settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def asked(case):
        answer = case.call(base_url=f"http://127.0.0.1:{served.port}")
        statuses[answer.status_code] += 1
        case.validate_response(answer, checks=CHECKS)

    asked()
    return statuses


@pytest.mark.parametrize("path", POSTS)
def test_what_fits_the_schema_is_answered_as_it_says(served, published, path):
    assert try_out(served, seasoned(published), path, GenerationMode.POSITIVE, FEW)[200] >= 3


@pytest.mark.parametrize("path", POSTS)
def test_what_does_not_fit_is_refused_as_it_says(served, published, path):
    assert not try_out(served, published, path, GenerationMode.NEGATIVE, FEW)[200]


@pytest.mark.parametrize("path", GETS)
def test_what_is_there_to_read_is_as_it_says(served, published, path):
    assert try_out(served, published, path, GenerationMode.POSITIVE, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
@pytest.mark.parametrize("is_seasoned", [True, False])
@pytest.mark.parametrize("path", POSTS)
def test_many_requests(served, published, path, is_seasoned, mode):
    assert try_out(served, seasoned(published) if is_seasoned else published, path, mode, MANY)
    assert served.metric("lmalgebra_requests_in_hand") == 0
    assert not served.logged("failure")


def test_a_voices_answer_is_as_it_says(served, published):
    operation = schemathesis.openapi.from_dict(published)["/v1/models/{name}"]["GET"]
    case = operation.Case(path_parameters={"name": "toy"})
    case.call_and_validate(base_url=f"http://127.0.0.1:{served.port}", checks=CHECKS)
