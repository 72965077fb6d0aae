import pytest

from lmalgebra.algebra import GenerationSettings
from lmalgebra.errors import DecodingError


def test_defaults_and_replace():
    settings = GenerationSettings().replace(temperature=0, stop=["\n"])
    assert settings == GenerationSettings(temperature=0.0, stop=("\n",))
    assert hash(settings) == hash(GenerationSettings(temperature=0.0, stop=("\n",)))
    assert settings.max_new_tokens == 64


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0 is out of range.", "Give a whole number of at least 1."),
        ({"max_new_tokens": True}, "max_new_tokens=True is out of range.", "Give a whole number of at least 1."),
        ({"min_new_tokens": -1}, "min_new_tokens=-1 is out of range.", "Give a whole number of at least 0."),
        ({"temperature": -0.1}, "temperature=-0.1 is out of range.", "Give a number of at least 0."),
        ({"temperature": float("nan")}, "temperature=nan is out of range.", "Give a number of at least 0."),
        ({"temperature": "hot"}, "temperature='hot' is out of range.", "Give a number of at least 0."),
        ({"temperature": False}, "temperature=False is out of range.", "Give a number of at least 0."),
        ({"top_k": 0}, "top_k=0 is out of range.", "Give a whole number of at least 1."),
        ({"top_p": 0}, "top_p=0 is out of range.", "Give a number above 0 and at most 1."),
        ({"min_p": 1.1}, "min_p=1.1 is out of range.", "Give a number from 0 to 1."),
        ({"repetition_penalty": 0}, "repetition_penalty=0 is out of range.", "Give a number above 0."),
        ({"presence_penalty": "2"}, "presence_penalty='2' is out of range.", "Give a number."),
        (
            {"logit_bias": {"5": 1}},
            "logit_bias={'5': 1} is out of range.",
            "Give a list of pairs such as [17, -2.5], a token's id and nats.",
        ),
        ({"logit_bias": [[5, 1], [5, 2]]}, "logit_bias=[[5, 1], [5, 2]] is out of range.", "Give each token once."),
        ({"top_logprobs": -1}, "top_logprobs=-1 is out of range.", "Give a whole number of at least 0."),
        ({"stop": "x"}, "stop='x' is out of range.", "Give a list of texts."),
        ({"stop": ["x", ""]}, "stop=['x', ''] is out of range.", "Give a list of texts, none of them empty."),
        ({"seed": -1}, "seed=-1 is out of range.", "Give a whole number of at least 0."),
        ({"samples": 0}, "samples=0 is out of range.", "Give a whole number of at least 1."),
        (
            {"min_new_tokens": 9, "max_new_tokens": 8},
            "min_new_tokens=9 is more than max_new_tokens=8.",
            "Lower the one or raise the other.",
        ),
        ({"tempereture": 1}, "There is no generation setting 'tempereture'.", "Did you mean 'temperature'?"),
    ],
)
def test_refused_settings(settings, message, hint):
    with pytest.raises(DecodingError) as caught:
        GenerationSettings().replace(**settings)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_an_integer_too_large_for_a_float():
    with pytest.raises(DecodingError, match="is out of range"):
        GenerationSettings(temperature=10**400)
