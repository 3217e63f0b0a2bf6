"""The systems that the paper is compared with go the same way as its own: recipe, training, ONNX,
captions."""

import json
import string
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import CAPTIONS, tiny_recipe

from auricle.captioning.beam_search import search_captions
from auricle.captioning.captioner import load
from auricle.checkpoint.folder import load_checkpoint
from auricle.checkpoint.vocabulary import BART_SPECIAL, SOS, Subwords, sentence
from auricle.errors import AuricleError
from auricle.sound.decode import load_audio
from auricle.sound.features import FRONT_ENDS, log_mel
from auricle.training.config import Recipe, load_recipe
from auricle.training.export import load_model
from auricle.training.parameters import describe, part_sizes
from auricle.training.prepare import read_data
from auricle.training.train import build_captioner, train
from auricle.training.weights import load_weights

PLAIN = {"tags": {}, "word2vec": {"size": 16, "epochs": 0}}


def write_tokenizer(folder: Path) -> Path:
    """A tokenizer of BART's kind that knows letters, and two rules."""
    folder.mkdir()
    pieces = [*BART_SPECIAL, "\u0120", *string.ascii_lowercase, "\u0120t", "\u0120a"]
    (folder / "vocab.json").write_text(
        json.dumps({piece: number for number, piece in enumerate(pieces)}), "utf-8"
    )
    (folder / "merges.txt").write_text("#version: 0.2\n\u0120 t\n\u0120 a\n", "utf-8")
    return folder


def baseline(manifest: Path, output: Path, **train: Any) -> Recipe:
    """The baseline's recipe, of a few kilobytes."""
    recipe = {
        **PLAIN,
        "data": {
            "manifest": str(manifest),
            "valid": ["valid"],
            "front_end": "vggish",
            "tokenizer": str(write_tokenizer(output / "tokenizer")),
        },
        "encoder": {"architecture": "vggish", "width": 1 / 32},
        "decoder": {
            "architecture": "bart",
            "encoder_layers": 2,
            "width": 16,
            "layers": 2,
            "heads": 2,
            "feedforward": 32,
            "dropout": 0.1,
        },
        "train": {
            "epochs": 1,
            "batch_size": 4,
            "schedule": "linear",
            "warmup": 0,
            "encoder_rate": 0.0,
            **train,
        },
        "decoding": {
            "beam": 3,
            "min_length": 5,
            "max_length": 12,
            "no_repeat_ngram": 3,
            "no_repeat_words": False,
        },
    }
    return tiny_recipe(manifest, output, **recipe)


def gru(manifest: Path, output: Path, **train: Any) -> Recipe:
    """The recurrent recipe, of a few kilobytes."""
    recipe = {
        **PLAIN,
        "data": {"manifest": str(manifest), "valid": ["valid"], "front_end": "panns"},
        "encoder": {"architecture": "gru", "width": 1 / 16},
        "decoder": {"architecture": "gru", "width": 16, "layers": 2, "heads": 1, "dropout": 0.1},
        "word2vec": {"size": 16, "epochs": 2},
        "train": {"epochs": 1, "batch_size": 4, "clip": 1.0, **train},
        "decoding": {"beam": 3, "max_length": 12},
    }
    return tiny_recipe(manifest, output, **recipe)


@pytest.mark.parametrize("system", [baseline, gru])
def test_from_recipe_to_caption(system: Any, tiny_manifest: Path, tmp_path: Path):
    recipe = system(tiny_manifest, tmp_path, keep="best_loss", learning_rate=0.01)
    folder = train(recipe)
    checkpoint, hears = load_checkpoint(folder), FRONT_ENDS[recipe.data.front_end]
    assert isinstance(checkpoint.vocabulary, Subwords) == bool(recipe.data.tokenizer)
    model, captioner = load_model(checkpoint).requires_grad_(False), load(folder)
    for number in (0, 3):
        path = tiny_manifest.parent / f"{number}.wav"
        heard = torch.from_numpy(log_mel(load_audio(path, hears.rate), hears))[None]
        search = model.next_log_probs(heard, torch.tensor([heard.shape[1]]))
        best = search_captions(search, checkpoint.vocabulary, recipe.decoding)[0][0]
        caption = captioner.caption(path)
        assert caption.text == sentence(checkpoint.vocabulary.decode(best.tokens))
        assert caption.score == pytest.approx(best.score, abs=1e-3)


def test_gradients_of_several_batches_make_a_step(
    tiny_manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Twelve sounds with two captions each in batches of four are six batches or more: two steps of
    four, or more."""
    monkeypatch.setattr("auricle.training.train.export_onnx", lambda _: None)
    steps = {}
    for accumulate in (1, 4):
        (tmp_path / str(accumulate)).mkdir()
        recipe = baseline(tiny_manifest, tmp_path / str(accumulate), accumulate=accumulate)
        state = load_weights(train(recipe) / "state" / "epoch-0001" / "optimizer.safetensors")
        steps[accumulate] = int(
            next(tensor for name, tensor in state.items() if name.endswith(".step"))
        )
    assert steps[1] >= 6
    assert steps[4] == -(-steps[1] // 4)


def test_the_baseline_of_the_recipe_has_its_size():
    recipe = load_recipe(Path("baseline"))
    sizes = part_sizes(recipe, 50_265)
    assert list(sizes) == ["captioner"]
    assert sizes["captioner"]["encoder"] == 72_141_184  # VGGish
    assert sizes["captioner"]["bridge"] == 128 * 768 + 768
    assert "Transformer alone     139,420,416" in describe(recipe)


def test_captions_of_further_data_sets_begin_with_their_own_token(
    tiny_manifest: Path, tmp_path: Path
):
    data = {
        "manifest": str(tiny_manifest),
        "further": [str(tiny_manifest)] * 2,
        "front_end": "panns",
    }
    recipe = tiny_recipe(
        tiny_manifest, tmp_path, data=data, decoder__tags=0, pretrain__monitor="loss", **PLAIN
    )
    train_items, _, _, vocabulary = read_data(recipe.data)
    assert [item.task for item in train_items] == [0] * 12 + [1] * 12 + [2] * 12
    assert vocabulary.words[-2:] == ("<task 1>", "<task 2>")
    assert vocabulary.encode(CAPTIONS[0])[0] == SOS
    assert vocabulary.encode(CAPTIONS[0], 2) == [
        len(vocabulary) - 1,
        *vocabulary.encode(CAPTIONS[0])[1:],
    ]
    assert build_captioner(recipe, len(vocabulary)).decoder.embedding.num_embeddings == len(
        vocabulary
    )


def test_what_does_not_go_together_is_refused(tiny_manifest: Path, tmp_path: Path):
    data = {"manifest": str(tiny_manifest), "tokenizer": str(tmp_path), "valid": ["valid"]}
    with pytest.raises(AuricleError, match="word2vec"):
        tiny_recipe(tiny_manifest, tmp_path, data=data)
    with pytest.raises(AuricleError, match="hears tags: cnn10 or mobilenet"):
        tiny_recipe(tiny_manifest, tmp_path, encoder={"architecture": "gru"})
    with pytest.raises(AuricleError, match="expected 1 for a recurrent decoder"):
        tiny_recipe(tiny_manifest, tmp_path, decoder={"architecture": "gru", "heads": 2})
    recipe = tiny_recipe(tiny_manifest, tmp_path, data=data, decoder__tags=0, **PLAIN)
    with pytest.raises(AuricleError, match="no tokenizer"):
        read_data(recipe.data)
