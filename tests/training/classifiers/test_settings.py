"""Settings of a training: the same from a file and from Python, and a sentence for what does not fit."""

from dataclasses import fields

import pytest

from lmalgebra.errors import TrainingError
from lmalgebra.training.classifiers.settings import ClassifierSettings, load_settings

NEEDED = {"data": "d.jsonl", "model": "m", "output": "o", "score": "s"}


def test_a_file_and_what_is_given_in_its_place(tmp_path):
    file = tmp_path / "t.toml"
    file.write_text('data = ["a.jsonl", "b.jsonl"]\nmodel = "m"\noutput = "o"\nscore = "s"\nepochs = 2\nseed = 7\n')
    found = load_settings(file, {"seed": 3})
    assert found == ClassifierSettings(("a.jsonl", "b.jsonl"), "m", "o", score=("s",), epochs=2.0, seed=3)
    assert isinstance(found.epochs, float)


def test_every_setting_is_an_option_of_the_command_line():
    from typer.main import get_command

    from lmalgebra.cli.train import app

    options = {parameter.name for parameter in get_command(app).commands["classifier"].params}
    assert {field.name for field in fields(ClassifierSettings)} | {"config", "resume"} <= options | {"help"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epochs": "2"}, "epochs = '2' is not a number. Give a number."),
        ({"seed": 1.5}, "seed = 1.5 is not a whole number. Give a whole number."),
        ({"seed": True}, "seed = True is not a whole number. Give a whole number."),
        ({"head_only": 1}, "head_only = 1 is not true or false. Give true or false."),
        ({"text": 3}, "text = 3 is neither text nor a list of texts. Put it in quotes."),
        ({"held_out": 1.0}, "held_out = 1.0 is out of range. Give a number from 0.001 to 0.9."),
        ({"batch_size": 0}, "batch_size = 0 is out of range. Give at least 1."),
        ({"model": ""}, "model is empty. Give it a value."),
        ({"data": []}, "data is empty. Give it a value."),
        ({"score": ()}, "Neither label nor score is given. Name the field of the labels, or that of the scores."),
        ({"label": "l"}, "Both label and score are given. Name the field of the labels, or that of the scores."),
        (
            {"text": ("a", "b")},
            "2 text fields go with 1 of score. Give as many as there are texts: text, score, text, score ...",
        ),
        ({"head_only": True, "lora": 4}, "head_only and lora exclude each other. Keep one of them."),
    ],
)
def test_a_setting_that_does_not_fit(changes, sentence):
    with pytest.raises(TrainingError) as refusal:
        ClassifierSettings(**NEEDED | changes)
    assert str(refusal.value) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('modle = "m"', "{file} has no setting 'modle'. Did you mean 'model'?"),
        ("x = 1", "{file} has no setting 'x'. Known: data, model, output, text, label, score, "),
        ('data = "d"', "model is not given. Add --model on the command line, or model = ... in a file."),
        ("data = ", "{file} is not valid TOML: Invalid value (at end of document). Mend it there; text needs quotes."),
    ],
)
def test_a_file_that_does_not_fit(tmp_path, text, sentence):
    file = tmp_path / "t.toml"
    file.write_text(text)
    with pytest.raises(TrainingError) as refusal:
        load_settings(file, {})
    assert str(refusal.value).startswith(sentence.format(file=file))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(TrainingError, match=r"There is no file of settings '.*none.toml'. Check the path."):
        load_settings(tmp_path / "none.toml", {})
