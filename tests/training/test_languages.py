"""Captions in any script are learnt and said."""

from pathlib import Path

import pytest
import torch
from tiny import RATE, made_sound

from auricle.captioning.beam_search import search_captions
from auricle.checkpoint.folder import load_checkpoint
from auricle.checkpoint.vocabulary import UNKNOWN, sentence, words
from auricle.data.manifest import Item, write_manifest
from auricle.sound.features import FRONT_ENDS, log_mel
from auricle.storage.tables import read
from auricle.training import run as run_module
from auricle.training import train as train_module
from auricle.training.config import Recipe
from auricle.training.export import load_model
from sounds import write_wav

# Captions, and how they are said.
CAPTIONS = {
    "Ein Stein fällt ins Wasser.": "Ein stein fällt ins wasser.",
    "Über der Straße läutet es.": "Über der straße läutet es.",
    "Pes štěká na kočku.": "Pes štěká na kočku.",
    "Někdo zavírá dveře.": "Někdo zavírá dveře.",
    "一只狗在叫。": "一只狗在叫。",
    "雨落在屋顶上，风很大。": "雨落在屋顶上风很大。",
}


def test_german_czech_and_chinese_captions_are_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(train_module, "export_onnx", lambda _: None)
    monkeypatch.setattr(run_module, "draw_curves", lambda *_: None)
    items = [
        Item(write_wav(tmp_path / f"{number}.wav", made_sound(number), RATE), "train", (caption,))
        for number, caption in enumerate(CAPTIONS)
    ]
    write_manifest(tmp_path / "train.csv", items)
    table = {
        "output": str(tmp_path / "run"),
        "data": {"manifest": str(tmp_path / "train.csv"), "front_end": "panns"},
        "encoder": {"width": 1 / 16},
        "decoder": {"width": 16, "layers": 1, "heads": 2, "feedforward": 32},
        "word2vec": {"size": 16, "epochs": 1},
        "train": {"epochs": 1, "batch_size": 3, "schedule": "cosine"},
    }
    folder = train_module.train(read(Recipe, table, "languages"))
    checkpoint = load_checkpoint(folder)
    vocabulary = checkpoint.vocabulary
    for caption, said in CAPTIONS.items():
        numbers = vocabulary.encode(caption)
        assert UNKNOWN not in numbers
        assert sentence(vocabulary.decode(numbers[1:])) == said
    heard = torch.from_numpy(log_mel(made_sound(0), FRONT_ENDS["panns"]))[None]
    search = load_model(checkpoint).next_log_probs(heard, torch.tensor([heard.shape[1]]))
    (best, *_), *_ = search_captions(search, vocabulary, checkpoint.config.decoding)
    text = sentence(vocabulary.decode(best.tokens))
    assert set(words(text)) <= {word for caption in CAPTIONS for word in words(caption)}
