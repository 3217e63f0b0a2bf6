"""The model in the package is small, described, the same in torch, and names the sounds of our
examples."""

import contextlib
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import auricle
from auricle.checkpoint.folder import EMBEDDED
from auricle.checkpoint.vocabulary import SOS
from auricle.cli.main import main
from auricle.planning.plans import plan_arrays
from auricle.sound.decode import load_audio
from sounds import tone

RATE = 32_000

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.wav"))
NAMES = {
    "siren": ("siren", "sirens"),
    "clock": ("clock", "ticking", "ticks"),
    "rain": ("rain", "raining", "water"),
    "bell": ("bell", "bells"),
    "car_horn": ("horn", "honk", "honks", "honking"),
}


def test_every_example_is_expected():
    assert {path.stem for path in EXAMPLES} == set(NAMES)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_named(path: Path):
    text = auricle.load().caption(path).text
    assert set(text.lower().rstrip(".").split()) & set(NAMES[path.stem]), text


def test_an_example_is_told_in_a_sentence_with_tags_and_a_confidence():
    for caption in auricle.load().caption(EXAMPLES):
        assert 4 <= len(caption.text.split()) <= 24
        assert caption.confidence is not None
        assert 0.3 < caption.confidence < 1
        assert caption.tags[0].probability > 0.1
        assert [tag.probability for tag in caption.tags] == sorted(
            (tag.probability for tag in caption.tags), reverse=True
        )


def test_each_example_is_most_like_its_own_sentence():
    sentences = {
        "siren": "an emergency siren wails",
        "clock": "a clock ticks",
        "rain": "rain is falling",
        "bell": "a bell rings",
        "car_horn": "a car horn honks",
    }
    similarity = auricle.load().similarity(EXAMPLES, list(sentences.values()))
    found = [list(sentences)[int(row.argmax())] for row in similarity]
    assert sum(name == path.stem for name, path in zip(found, EXAMPLES, strict=True)) >= 4, found


MADE = {
    "silence": (np.zeros(RATE * 5), {"silence"}),
    "dither": (np.random.default_rng(0).uniform(-1, 1, RATE * 5) / 2**15, {"silence"}),
    "tone": (
        0.3 * tone(5, 700, RATE),
        {"tone", "tones", "beep", "beeps", "beeping", "hum", "hums"},
    ),
    "noise": (
        np.random.default_rng(0).normal(0, 0.1, RATE * 5),
        {"noise", "static", "hiss", "hisses", "hissing"},
    ),
    "clipped": (
        np.clip(20 * tone(5, 300, RATE), -0.9, 0.9),
        {"distorted", "clipped", "harsh", "buzz", "buzzes", "buzzing"},
    ),
}


@pytest.mark.parametrize("name", MADE)
def test_sounds_of_nothing_get_honest_words(name: str):
    samples, honest = MADE[name]
    text = auricle.load().caption(samples.astype(np.float32), RATE).text
    assert honest & set(text.lower().rstrip(".").split()), text


def test_it_is_small_and_says_what_it_is():
    assert sum(path.stat().st_size for path in EMBEDDED.iterdir()) < 12e6
    card = (EMBEDDED / "README.md").read_text("utf-8")
    assert "non-commercial" in auricle.load().checkpoint.config.licence
    for name in (
        "EfficientAT",
        "ESC-10",
        "ESC-50",
        "UrbanSound8K",
        "Clotho",
        "AudioCaps",
        "ATTRIBUTION.csv",
    ):
        assert name in card


def test_torch_hears_and_words_the_same_of_50_real_sounds(shared: Path):
    torch = pytest.importorskip("torch", reason="compared with torch: pip install 'auricle[train]'")
    from auricle.training.export_planned import load_planned

    captioner = auricle.load()
    assert captioner.planner is not None
    model = load_planned(captioner.checkpoint)
    files = sorted((shared / "corpus" / "audio").rglob("*.*"))
    for file in files[:: len(files) // 50]:
        samples = load_audio(file, captioner.rate, max_seconds=5)
        heard = captioner.hear(samples)
        with torch.inference_mode():
            log_mel = torch.from_numpy(captioner.spectrogram(samples))[None]
            _, classes, embedding = (part[0].numpy() for part in model.hear(log_mel))
        assert heard.tags is not None
        assert heard.embedding is not None
        assert np.allclose(heard.tags, classes, atol=5e-3), file
        assert np.allclose(heard.embedding, embedding, atol=5e-3), file
        plan = captioner.planner.select(heard, len(samples) / captioner.rate).plan
        events, whole = plan_arrays(plan, captioner.planner.language.manner(plan))
        step = captioner.model.next_log_probs(captioner.model.remember_plan(events, whole))
        tokens, parents = np.array([SOS]), np.array([0])
        with torch.inference_mode():
            state = model.wording.begin(torch.from_numpy(events), torch.from_numpy(whole))
            first = torch.from_numpy(tokens), torch.from_numpy(parents)
            ours = model.wording.decoder.step(*first, state)[0].numpy()
        assert np.allclose(step(tokens, parents), ours, atol=2e-2), file


def test_card_configuration_documents_and_info_name_the_same_licence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    licence = auricle.load().checkpoint.config.licence.split(" (")[0]
    assert licence == "non-commercial research use with attribution"
    root = Path(__file__).parents[2]
    for file in ("README.md", "pyproject.toml", "docs/index.md", EMBEDDED / "README.md"):
        assert licence in (root / file).read_text("utf-8"), file
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "MIT AND LicenseRef-auricle-weights"
    assert (root / "LICENSE").read_text("utf-8").startswith("MIT License")
    assert "The code is MIT." in (root / "README.md").read_text("utf-8")
    monkeypatch.setattr(sys, "argv", ["auricle", "info"])
    with contextlib.suppress(SystemExit):
        main()
    assert f"licence     {licence}" in capsys.readouterr().out
