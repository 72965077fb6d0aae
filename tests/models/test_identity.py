"""What is said is said anew when what decides it changes, and never otherwise."""

import json
from pathlib import Path

import pytest

from lmalgebra.algebra import GenerationSettings, load_voice
from lmalgebra.models.fingerprint import fingerprint
from lmalgebra.models.identity import identity_of

TABLE = {"pieces": ["a", "b", "<end>"], "end": "<end>", "order": 0, "rows": {"": [0.5, 0.3, 0.2]}}
VOICE = """
formula = "base"
[models.table]
source = "./table.json"
[terms.base]
model = "table"
prefix = ""
"""


def place(folder: Path, table=TABLE, voice: str = VOICE):
    """A voice file with its table in a folder of their own."""
    folder.mkdir(parents=True)
    (folder / "table.json").write_text(json.dumps(table))
    (folder / "voice.toml").write_text(voice)
    return load_voice(folder / "voice.toml")


def name(voice, **settings) -> str:
    return identity_of(voice, GenerationSettings(**settings)).name


def test_the_same_content_elsewhere_is_the_same(tmp_path):
    assert name(place(tmp_path / "here")) == name(place(tmp_path / "there" / "deeper"))


def test_neither_place_nor_user_is_told(tmp_path):
    description = identity_of(place(tmp_path / "here"), GenerationSettings()).description
    assert str(tmp_path) not in json.dumps(description)
    assert fingerprint(str(tmp_path / "here" / "table.json")) in json.dumps(description)


def test_other_weights_are_another(tmp_path):
    other = TABLE | {"rows": {"": [0.4, 0.4, 0.2]}}
    assert name(place(tmp_path / "here")) != name(place(tmp_path / "there", other))


def test_weights_that_change_in_their_place_are_another(tmp_path):
    voice = place(tmp_path / "here")
    before = name(voice)
    (tmp_path / "here" / "table.json").write_text(json.dumps(TABLE | {"rows": {"": [0.1, 0.7, 0.2]}}))
    assert name(voice) != before


@pytest.mark.parametrize("change", [("prefix = ", 'system = "x"\n#'), ('formula = "base"', 'formula = "1.5 * base"')])
def test_another_term_or_formula_is_another(tmp_path, change):
    assert name(place(tmp_path / "here")) != name(place(tmp_path / "there", voice=VOICE.replace(*change)))


@pytest.mark.parametrize(
    "change",
    [
        {"max_new_tokens": 7},
        {"min_new_tokens": 1},
        {"temperature": 0.5},
        {"top_p": 0.5},
        {"top_k": 5},
        {"min_p": 0.1},
        {"repetition_penalty": 1.1},
        {"stop": ("x",)},
    ],
    ids=str,
)
def test_a_changed_setting_is_another(tmp_path, change):
    voice = place(tmp_path / "here")
    assert name(voice) != name(voice, **change)


def test_how_many_and_from_which_seed_is_not(tmp_path):
    voice = place(tmp_path / "here")
    assert name(voice) == name(voice, samples=9, seed=4)


def test_a_voice_files_own_settings_count_only_as_they_are_used(tmp_path):
    with_settings = VOICE + "[generation]\ntemperature = 0.5\n"
    assert name(place(tmp_path / "here")) == name(place(tmp_path / "there", voice=with_settings))


def test_a_hubs_model_has_one_name_before_and_after_it_is_loaded(tmp_path, monkeypatch):
    import huggingface_hub

    from lmalgebra.models import fingerprint as module

    asked = []
    file = tmp_path / "models--o--n" / "snapshots" / "abc123" / "config.json"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(
        huggingface_hub, "hf_hub_download", lambda *each, revision: asked.append((*each, revision)) or str(file)
    )
    module._hub_commit.cache_clear()
    assert fingerprint("o/n") == fingerprint("o/n") == "abc123"
    assert asked == [("o/n", "config.json", "main")]
    assert fingerprint("toy") == "toy"
    assert fingerprint("http://host/v1") == "http://host/v1"
    module._hub_commit.cache_clear()
