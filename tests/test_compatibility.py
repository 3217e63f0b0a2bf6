"""Files that auricle 0.1 wrote still load; `fixtures/` holds small ones of random weights."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from auricle.captioning.captioner import load
from auricle.checkpoint.folder import load_checkpoint
from sounds import chirp

FIXTURES = Path(__file__).parent / "fixtures"
CHECKPOINT = FIXTURES / "checkpoint-0.1"


def test_a_checkpoint_of_0_1_captions_and_compares():
    captioner = load(CHECKPOINT)
    sound = chirp(2, 100, 8_000, captioner.rate)
    caption = captioner.caption(sound)
    assert caption.text
    assert caption.tags
    assert caption.embedding is not None
    assert captioner.similarity([sound], ["a dog barks"]).shape == (1, 1)
    assert captioner.attention(sound, caption.text).sum(1) == pytest.approx(1, abs=1e-4)


def test_weights_of_0_1_are_those_that_torch_trains_on():
    torch = pytest.importorskip(
        "torch", reason="training needs torch: pip install 'auricle[train]'"
    )
    from auricle.training.export import load_model, onnx_tensors

    state = load_model(load_checkpoint(CHECKPOINT)).state_dict()  # a training begins with it
    exported = onnx_tensors(CHECKPOINT)
    assert len(exported) > 40
    for name, tensor in exported.items():
        assert torch.equal(state[name], tensor.to(state[name].dtype)), name


@pytest.mark.slow  # an export takes longer than all other tests of this file
def test_weights_of_0_1_export(tmp_path: Path):
    pytest.importorskip("torch", reason="an export needs torch: pip install 'auricle[train]'")
    from auricle.training.export import export_onnx

    folder = tmp_path / "checkpoint"
    shutil.copytree(CHECKPOINT, folder)
    for network in folder.glob("*.onnx"):
        network.unlink()
    export_onnx(folder)
    old, new = load(CHECKPOINT), load(folder)
    sound = chirp(2, 100, 8_000, old.rate)
    before, after = old.caption(sound), new.caption(sound)
    assert before.text == after.text
    assert before.score == pytest.approx(after.score, abs=1e-4)


def test_an_index_of_0_1_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("apsw", reason="an index is SQLite by apsw: pip install 'auricle[search]'")
    pytest.importorskip("sqlite_vec", reason="embeddings: pip install 'auricle[search]'")
    from auricle.search import ranking
    from auricle.search.index import SoundIndex

    # The files of the index were on another machine.
    monkeypatch.setattr(ranking, "gone", lambda _: False)

    database = tmp_path / "index.sqlite"
    shutil.copy(FIXTURES / "index-0.1.sqlite", database)
    with SoundIndex(database, load(CHECKPOINT)) as index:
        hits = index.search("a dog barks", top=2)
    assert {Path(hit.file).name for hit in hits} == {"bell.wav", "siren.wav"}
    assert np.isfinite([hit.score for hit in hits]).all()
