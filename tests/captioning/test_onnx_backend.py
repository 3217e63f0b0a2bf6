"""What captioning runs on equals what was trained."""

import shutil
from pathlib import Path
from typing import cast

import numpy as np
import pytest

pytest.importorskip("torch", reason="ONNX is compared with torch: pip install 'auricle[train]'")
pytest.importorskip("onnx", reason="files are read with onnx: pip install 'auricle[train]'")

import onnx
import onnxruntime
import torch
from onnx import numpy_helper

from auricle.captioning.beam_search import search_captions
from auricle.captioning.captioner import load
from auricle.captioning.onnx_backend import Memory, OnnxModel, Sizes
from auricle.checkpoint.config import BeamOptions
from auricle.checkpoint.folder import load_checkpoint
from auricle.checkpoint.vocabulary import SOS, UNKNOWN
from auricle.errors import AuricleError
from auricle.models.captioning import CaptioningModel
from auricle.sound.features import front_end, log_mel
from auricle.training.export import TAG_HEADS, load_model
from auricle.training.weights import load_weights
from sounds import chirp

LENGTHS = (0.3, 1.0, 1.01, 2.5, 3.33, 7.77, 10.0, 30.0)


@pytest.fixture(scope="module")
def torch_model(tiny_checkpoint: Path) -> CaptioningModel:
    return load_model(load_checkpoint(tiny_checkpoint)).requires_grad_(False)


@pytest.fixture(scope="module")
def onnx_model(tiny_checkpoint: Path) -> OnnxModel:
    return load(tiny_checkpoint).model


def mel(seconds: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 0.02, round(seconds * 32_000)).astype(np.float32)
    return log_mel(chirp(seconds, 100 * (seed + 1), 5_000, 32_000) + noise, front_end("panns"))


def run(
    session: onnxruntime.InferenceSession, outputs: list[str] | None, inputs: dict
) -> list[np.ndarray]:
    return cast("list[np.ndarray]", session.run(outputs, inputs))


def memory_of(model: OnnxModel, sound: np.ndarray) -> Memory:
    memory = model.hear(sound).memory
    assert memory is not None
    return memory


@pytest.mark.parametrize("beam", [1, 4])
def test_torch_and_onnx_say_the_same(
    tiny_checkpoint: Path, torch_model: CaptioningModel, onnx_model: OnnxModel, beam: int
):
    vocabulary = load_checkpoint(tiny_checkpoint).vocabulary
    options = BeamOptions(beam, max_length=12)
    for seed, seconds in enumerate(LENGTHS):
        sound = mel(seconds, seed)
        batch = torch.from_numpy(sound)[None], torch.tensor([len(sound)])
        searches = (
            torch_model.next_log_probs(*batch),
            onnx_model.next_log_probs(memory_of(onnx_model, sound)),
        )
        ours, theirs = (search_captions(s, vocabulary, options)[0] for s in searches)
        assert [h.tokens for h in ours] == [h.tokens for h in theirs]
        np.testing.assert_allclose(
            [h.log_prob for h in ours], [h.log_prob for h in theirs], atol=1e-3
        )


def test_every_step_gives_a_distribution_and_where_it_attended(
    tiny_checkpoint: Path, torch_model: CaptioningModel
):
    encoder, decoder = (
        onnxruntime.InferenceSession(
            tiny_checkpoint / f"{name}.onnx", providers=["CPUExecutionProvider"]
        )
        for name in ("encoder", "decoder")
    )
    for seconds in LENGTHS:
        sound = mel(seconds)
        memory_keys, memory_values = run(encoder, None, {"log_mel": sound[None]})
        layers, _, heads, frames, size = memory_keys.shape
        assert frames == int(torch_model.encoder.output_frames(torch.tensor(len(sound))))
        past = {
            name: np.zeros((layers, 1, heads, 0, size), np.float32)
            for name in ("past_keys", "past_values")
        }
        for step, rows in enumerate((1, 5, 5, 2)):
            log_probs, keys, values, attention = run(
                decoder,
                ["log_probs", "keys", "values", "attention"],
                {
                    "tokens": np.full(rows, SOS + step),
                    "parents": np.zeros(rows, np.int64),
                    "memory_keys": memory_keys,
                    "memory_values": memory_values,
                    **past,
                },
            )
            past = {"past_keys": keys, "past_values": values}
            assert keys.shape == values.shape == (layers, rows, heads, step + 1, size)
            np.testing.assert_allclose(np.exp(log_probs).sum(1), 1, atol=1e-5)
            assert attention.shape == (rows, frames)
            assert (attention >= 0).all()
            np.testing.assert_allclose(attention.sum(1), 1, atol=1e-5)


def test_torch_and_onnx_hear_and_read_the_same(tiny_guided_checkpoint: Path):
    """Tags and the embeddings of sounds and sentences do not depend on padding."""
    model, theirs = (
        load_model(load_checkpoint(tiny_guided_checkpoint)),
        load(tiny_guided_checkpoint).model,
    )
    assert model.space is not None
    for seed, seconds in enumerate(LENGTHS):
        sound, heard = mel(seconds, seed), theirs.hear(mel(seconds, seed))
        with torch.inference_mode():
            features, mask, tags = model.hear(
                torch.from_numpy(sound)[None], torch.tensor([len(sound)])
            )
            assert tags is not None
            embedding = model.space.embed_sound(model.encoder.embed(features, mask), tags)
        assert heard.tags is not None
        assert heard.embedding is not None
        np.testing.assert_allclose(heard.tags, tags[0], atol=1e-5)
        np.testing.assert_allclose(heard.embedding, embedding[0], atol=1e-5)
    sentences = [[5], [7, 9, 4, 4, 8], [6, 11, 10], []]
    with torch.inference_mode():
        ours = [
            model.space.embed_text(torch.tensor([numbers or [UNKNOWN]]))[0].numpy()
            for numbers in sentences
        ]
    np.testing.assert_allclose(theirs.embed_sentences(sentences), ours, atol=1e-5)


def test_every_matrix_keeps_its_name_and_values(tiny_checkpoint: Path):
    """A file that is read back gives the weights, not what an optimiser made of them under the same
    names."""
    found = {}
    for name in ("encoder", "decoder"):
        for tensor in onnx.load(tiny_checkpoint / f"{name}.onnx").graph.initializer:
            found.setdefault(tensor.name.removesuffix(".half"), []).append(
                numpy_helper.to_array(tensor)
            )
    for name, tensor in load_weights(tiny_checkpoint / "model.safetensors").items():
        if tensor.dim() > 1 and not name.startswith(TAG_HEADS):
            assert name in found
            for array in found[name]:
                np.testing.assert_array_equal(array, tensor.numpy())


def test_batch_norms_after_convolutions_cost_nothing(tiny_checkpoint: Path, tmp_path: Path):
    """ONNX Runtime folds them into the convolutions as it loads the file; the first, of the
    spectrogram, has none before it."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # it warns that such a file is for this processor only
    onnxruntime.InferenceSession(
        tiny_checkpoint / "encoder.onnx", options, providers=["CPUExecutionProvider"]
    )
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert kinds.count("BatchNormalization") == 1


def test_the_network_is_read_back_from_onnx_alone(
    tiny_checkpoint: Path, torch_model: CaptioningModel, tmp_path: Path
):
    for path in tiny_checkpoint.iterdir():
        if path.suffix != ".safetensors":
            shutil.copy(path, tmp_path)
    state = load_model(load_checkpoint(tmp_path)).state_dict()
    for name, tensor in torch_model.state_dict().items():
        if not name.startswith(TAG_HEADS) and tensor.dim():
            torch.testing.assert_close(state[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("damage", ["missing", "truncated", "text"])
def test_files_that_cannot_be_run_are_one_line(tiny_checkpoint: Path, tmp_path: Path, damage: str):
    for name in ("encoder.onnx", "decoder.onnx"):
        (tmp_path / name).write_bytes((tiny_checkpoint / name).read_bytes())
    target = tmp_path / "decoder.onnx"
    if damage == "missing":
        target.unlink()
    else:
        target.write_bytes(
            target.read_bytes()[:1000] if damage == "truncated" else b"not a network\n"
        )
    with pytest.raises(AuricleError, match=r"decoder\.onnx cannot be run") as refusal:
        OnnxModel(tmp_path, Sizes(64, len(load_checkpoint(tiny_checkpoint).vocabulary), 0, 0))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "there", [["CPUExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]]
)
def test_the_encoder_alone_runs_on_a_gpu_where_there_is_one(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, there: list[str]
):
    real, asked = onnxruntime.InferenceSession, {}

    def session(
        content: bytes,
        options: onnxruntime.SessionOptions,
        providers: list[str | tuple[str, object]],
    ):
        made = real(content, options, providers=["CPUExecutionProvider"])
        names = [provider if isinstance(provider, str) else provider[0] for provider in providers]
        asked["encoder" if made.get_inputs()[0].name == "log_mel" else "decoder"] = names
        return made

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: there)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    load(tiny_checkpoint)
    assert asked == {"encoder": there, "decoder": ["CPUExecutionProvider"]}


def test_files_tell_nothing_of_the_machine_that_made_them(tiny_checkpoint: Path):
    for name in ("encoder.onnx", "decoder.onnx"):
        content = (tiny_checkpoint / name).read_bytes()
        assert b"site-packages" not in content
        assert b"Traceback" not in content
        assert str(Path(__file__).parents[2]).encode() not in content
