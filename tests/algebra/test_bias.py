"""Classifiers as terms: names, voice files, and what they refuse."""

import pytest

from lmalgebra.algebra import Classifier, Model, Voice, classifier, dump_voice, parse, parse_voice
from lmalgebra.errors import VoiceError

base = Model("small").term(name="base")


def share_of_a(texts: list[str]) -> list[float]:
    return [text.count("a") / max(1, len(text)) for text in texts]


def test_a_classifier_has_no_mass_and_forbids_nothing():
    term = classifier("my/judge", "toxic", sign=-1, top_k=20)
    assert (term.mass(), term.description.forbids, term.description.candidates) == (0, False, 20)
    assert (base + 2 * term).mass() == 1


def test_names_say_what_is_judged():
    assert classifier("my/judge", "toxic").name.startswith("toxic_")
    assert classifier(share_of_a).name.startswith("share_of_a_")
    assert classifier("my/judge", "toxic") == classifier("my/judge", "toxic")
    assert classifier("my/judge", "toxic").name != classifier("my/judge", "toxic", sign=-1).name


def test_a_voice_file_holds_it():
    polite = classifier("my/judge", "toxic", sign=-1, top_k=20, reads="all", name="polite")
    voice = Voice(base + 2 * polite)
    text = dump_voice(voice)
    assert 'classifier = "my/judge"\nlabel = "toxic"\nsign = -1\ntop_k = 20\nreads = "all"' in text
    assert parse_voice(text).formula == voice.formula


def test_a_folder_beside_the_voice_file_is_found(tmp_path):
    (tmp_path / "judge").mkdir()
    content = (
        'formula = "base + judge"\n[models.small]\nsource = "toy"\n[terms.base]\n[terms.judge]\nclassifier = "judge"'
    )
    voice = parse_voice(content, folder=tmp_path)
    assert voice.terms[1].description == Classifier(str(tmp_path / "judge"))


def test_a_function_cannot_be_written():
    with pytest.raises(VoiceError, match="The function 'share_of_a' cannot be written into a voice file"):
        dump_voice(Voice(base + classifier(share_of_a)))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"source": ""}, "source='' of a classifier is no place and no function."),
        ({"source": "x", "label": 1}, "label=1 of a classifier is not text."),
        ({"source": "x", "sign": 0}, "sign=0 of a classifier is not 1 or -1."),
        ({"source": "x", "top_k": 0}, "top_k=0 of a classifier is not a whole number of at least 1."),
        ({"source": "x", "top_k": True}, "top_k=True of a classifier is not a whole number of at least 1."),
        ({"source": "x", "reads": "prompt"}, "reads='prompt' of a classifier is not known."),
    ],
)
def test_what_is_refused(given, sentence):
    with pytest.raises(VoiceError) as caught:
        Classifier(**given)
    assert caught.value.message == sentence


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('classifier = "x"\nlabels = "toxic"', "[terms.judge] has no key 'labels'."),
        ("classifier = 3", "classifier of [terms.judge] is 3, a number; text was expected."),
        ('classifier = "x"\nsign = 2', "[terms.judge]: sign=2 of a classifier is not 1 or -1."),
        ('classifier = "x"\nsystem = "Hi"', "[terms.judge] has no key 'system'."),
    ],
)
def test_a_voice_file_that_is_wrong(line, sentence):
    content = f'formula = "base"\n[models.small]\nsource = "toy"\n[terms.base]\n[terms.judge]\n{line}'
    with pytest.raises(VoiceError) as caught:
        parse_voice(content)
    assert sentence in caught.value.message


def test_a_classifier_alone_says_nothing():
    with pytest.raises(Exception, match="has mass 0 and so no distribution"):
        Voice(parse("2 * judge", {"judge": classifier("x", name="judge")}))
