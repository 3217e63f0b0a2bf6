import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from auricle.errors import AuricleError
from auricle.training import tags
from auricle.training.tags import CLASSES, WIDTH, embed_sentences, read_class_names, read_tags


class CountingModel:
    """Stands in for the sentence model: a random direction for each text, and a list of what it was
    asked for."""

    embedded: list[str] = []  # noqa: RUF012 - of all instances, as each call may make one

    def __init__(self, _: Path) -> None:
        pass

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.embedded.extend(texts)
        rows = np.stack(
            [np.random.default_rng(zlib.crc32(text.encode())).normal(size=WIDTH) for text in texts]
        )
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[CountingModel]:
    """The stand-in, with an empty cache."""
    monkeypatch.setenv("AURICLE_CACHE", str(tmp_path))
    monkeypatch.setattr(tags, "SentenceModel", CountingModel)
    monkeypatch.setattr(CountingModel, "embedded", [])
    return CountingModel


def write_classes(path: Path, count: int) -> Path:
    lines = [f'{index},/m/{index},"Name, {index}"' for index in range(count)]
    path.write_text("\n".join(["index,mid,display_name", *lines]), "utf-8")
    return path


def test_class_names_are_read_in_order(tmp_path: Path):
    names = read_class_names(write_classes(tmp_path / "labels.csv", CLASSES))
    assert names[:2] == ["Name, 0", "Name, 1"]
    assert len(names) == CLASSES


@pytest.mark.parametrize(
    "text", ["", "index,mid\n0,/m/0", "index,mid,display_name\nfirst,/m/0,Speech"]
)
def test_another_file_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "labels.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(AuricleError, match=r"labels\.csv"):
        read_class_names(path)


def test_a_file_that_lacks_classes_is_refused(tmp_path: Path):
    with pytest.raises(AuricleError, match="526 classes; expected AudioSet's 527"):
        read_class_names(write_classes(tmp_path / "labels.csv", CLASSES - 1))


def test_a_text_is_embedded_once_whatever_its_company(model: type[CountingModel]):
    first = embed_sentences(["rain falls", "a dog", "rain falls"])
    second = embed_sentences(["a bell rings", "a dog"])
    assert sorted(model.embedded) == ["a bell rings", "a dog", "rain falls"]
    assert first.dtype == np.float32
    assert first.shape == (3, WIDTH)
    np.testing.assert_array_equal(first[0], first[2])
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, atol=1e-3)
    assert embed_sentences([]).shape == (0, WIDTH)


def test_a_stop_loses_one_chunk(model: type[CountingModel], monkeypatch: pytest.MonkeyPatch):
    class StoppedModel(CountingModel):
        def embed(self, texts: Sequence[str]) -> np.ndarray:
            if self.embedded:
                raise KeyboardInterrupt
            return super().embed(texts)

    monkeypatch.setattr(tags, "_CHUNK", 2)
    texts = ["a", "bb", "ccc", "dddd"]
    monkeypatch.setattr(tags, "SentenceModel", StoppedModel)
    with pytest.raises(KeyboardInterrupt):
        embed_sentences(texts)
    assert model.embedded == ["a", "bb"]
    monkeypatch.setattr(tags, "SentenceModel", CountingModel)
    embed_sentences(texts)
    assert model.embedded == texts


def test_tags_are_the_classes_above_the_threshold_or_the_nearest(monkeypatch: pytest.MonkeyPatch):
    names = [f"Class {index}" for index in range(8)]
    # Captions whose cosine to class n is given, to either wording of its name.
    similarities = {
        "two": [0.1, 0.5, 0.2, 0.7, 0, 0, 0, 0],
        "none": [0.1, 0.2, 0.3, 0.1, 0, 0, 0, 0],
        "all": [0.5, 0.51, 0.52, 0.53, 0.54, 0.55, 0.56, 0.57],
    }

    def embed(texts: Sequence[str], **_: object) -> np.ndarray:
        named = {str(index): row for index, row in enumerate(np.eye(8))}
        return np.array(
            [similarities[text] if text in similarities else named[text[-1]] for text in texts],
            np.float32,
        )

    monkeypatch.setattr(tags, "embed_sentences", embed)
    monkeypatch.setattr(tags, "_CHUNK", 2)
    two, none, everything = read_tags(list(similarities), names, threshold=0.42)
    assert two == pytest.approx({3: 0.7, 1: 0.5})
    assert list(two) == [3, 1]
    assert none == pytest.approx({2: 0.3})
    assert list(everything) == [7, 6, 5, 4, 3, 2]


def test_similarity_is_the_mean_over_both_wordings_in_lower_case(model: type[CountingModel]):
    ((tag, similarity),) = read_tags(["a dog"], ["Dog"])[0].items()
    assert sorted(model.embedded) == ["a dog", "dog", "the sound of dog"]
    caption, name, sound = embed_sentences(["a dog", "dog", "the sound of dog"])
    assert tag == 0
    assert similarity == pytest.approx((caption @ name + caption @ sound) / 2, abs=1e-6)


@pytest.mark.usefixtures("model")
def test_a_cache_that_cannot_be_opened_is_named(tmp_path: Path):
    (tmp_path / "sentences" / "all-MiniLM-L6-v2.sqlite").mkdir(parents=True)
    with pytest.raises(AuricleError, match=r"sqlite: embeddings cannot be kept: .*AURICLE_CACHE"):
        embed_sentences(["a dog barks"])
