"""A captioner that words a plan: its folder, its ONNX files, and training on from it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from auricle import load
from auricle.captioning.onnx_backend import OnnxModel, Sizes
from auricle.checkpoint.config import (
    CHECKPOINT_FORMAT,
    CheckpointConfig,
    DecoderConfig,
    EncoderConfig,
)
from auricle.checkpoint.config import SelectionConfig as Selection
from auricle.checkpoint.folder import PLAN_FILES, Checkpoint, load_checkpoint, save_checkpoint
from auricle.checkpoint.vocabulary import Vocabulary
from auricle.data.plan_captions import SourcedCaption, read_captions
from auricle.data.plan_language import learn_language
from auricle.data.plan_texts import learnt_words
from auricle.errors import AuricleError
from auricle.models.cnn10 import AUDIOSET_CLASSES
from auricle.models.planned import PlannedCaptioner
from auricle.planning.classes import SoundClasses
from auricle.planning.plans import Plan, PlannedEvent, Relation, plan_arrays
from auricle.training.config import load_recipe
from auricle.training.export_planned import export_planned, load_planned
from auricle.training.initial import tensors_of_planned
from auricle.training.weights import save_weights

SENTENCES = Path(__file__).parents[2] / "scripts/class_sentences.toml"
PEOPLE_CAPTIONS = ("A dog barks loudly.", "Rain falls on a roof while a dog barks.")
RATE = 32_000
ENCODER = EncoderConfig("mobilenet", 0.1)
DECODER = DecoderConfig(
    width=16, layers=2, heads=2, feedforward=32, dropout=0.0, plan=True, tied=True
)


@pytest.fixture(scope="module")
def classes() -> SoundClasses:
    return SoundClasses.read_toml(SENTENCES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, classes: SoundClasses) -> Path:
    """A captioner at random weights, exported."""
    folder = tmp_path_factory.mktemp("planned")
    captions = [SourcedCaption(text, 1) for text in PEOPLE_CAPTIONS]
    readings = read_captions(captions, classes)
    learnt = learnt_words(readings, classes, minimum_count=1)
    vocabulary = Vocabulary(learnt)
    torch.manual_seed(0)
    untagged = len(classes) - AUDIOSET_CLASSES
    model = PlannedCaptioner(ENCODER, DECODER, len(vocabulary), 8, 3, untagged).eval()
    with torch.no_grad():
        model.probe.targets[0, 7] = model.probe.targets[1, -1] = model.probe.targets[2, 300] = 1
    save_weights(folder / "model.safetensors", model.state_dict())
    classes.save(folder / "classes.json")
    language = learn_language(readings, captions, classes, vocabulary, learnt, composed=200)
    language.save(folder / "language.npz")
    config = CheckpointConfig(
        CHECKPOINT_FORMAT,
        "mobilenet",
        ENCODER,
        DECODER,
        space=8,
        rerank=1.0,
        selection=Selection(),
        probe_targets=3,
        minimum_seconds=2.0,
    )
    save_checkpoint(Checkpoint(folder, config, vocabulary, classes.names))
    export_planned(folder)
    return folder


@pytest.fixture(scope="module")
def onnx(folder: Path) -> OnnxModel:
    checkpoint = load_checkpoint(folder)
    sizes = Sizes(128, len(checkpoint.vocabulary), len(checkpoint.tags), 8, plan=True)
    return OnnxModel(folder, sizes)


@pytest.mark.parametrize("frames", [200, 517])
def test_onnx_hears_as_torch_does(folder: Path, onnx: OnnxModel, frames: int):
    model = load_planned(load_checkpoint(folder))
    log_mel = np.random.default_rng(frames).normal(0, 1, (frames, 128)).astype(np.float32)
    heard = onnx.hear(log_mel)
    with torch.inference_mode():
        expected = [part[0].numpy() for part in model.hear(torch.from_numpy(log_mel)[None])]
    found = (heard.frames, heard.tags, heard.embedding)
    for one, other in zip(found, expected, strict=True):
        assert one is not None
        assert np.allclose(one, other, atol=5e-3)


def test_onnx_words_a_plan_as_torch_does(folder: Path, onnx: OnnxModel):
    model = load_planned(load_checkpoint(folder))
    plan = Plan((PlannedEvent(3), PlannedEvent(40)), Relation.WHILE)
    events, whole = plan_arrays(plan, 5)
    step = onnx.next_log_probs(onnx.remember_plan(events, whole))
    tokens, parents = np.array([1, 9]), np.array([0, 0])
    with torch.inference_mode():
        state = model.wording.begin(torch.from_numpy(events), torch.from_numpy(whole))
        expected, _, _ = model.wording.decoder.step(
            torch.from_numpy(tokens), torch.from_numpy(parents), state
        )
    assert np.allclose(step(tokens, parents), expected.numpy(), atol=2e-2)


def test_the_onnx_files_hold_all_tensors(folder: Path, tmp_path: Path):
    from_weights = load_planned(load_checkpoint(folder)).state_dict()
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        if file.is_file() and file.name != "model.safetensors":
            (copy / file.name).write_bytes(file.read_bytes())
    for name, tensor in load_planned(load_checkpoint(copy)).state_dict().items():
        assert torch.allclose(tensor, from_weights[name], atol=2e-3), name


def test_captions_mention_the_events_that_they_list(folder: Path, classes: SoundClasses):
    captioner = load(folder)
    rng = np.random.default_rng(0)
    for seconds in (0.4, 3.0, 12.0):
        samples = rng.normal(0, 0.1, round(seconds * RATE)).astype(np.float32)
        caption = captioner.caption(samples)
        assert caption.events
        said = caption.text.lower().rstrip(".").replace(",", "").split()
        for event in caption.events:
            assert classes.classes[classes.indices[event.name]].find_mention(said) is not None
            assert 0 <= event.start < event.end <= caption.end
            assert 0 <= event.probability <= 1
        assert len(caption.tags) == 10
        assert captioner.caption(samples) == caption


@pytest.mark.parametrize("name", PLAN_FILES)
def test_a_missing_or_damaged_file_is_named(folder: Path, tmp_path: Path, name: str):
    for file in folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / name).write_bytes(b"nothing of use")
    with pytest.raises(AuricleError, match=name):
        load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(AuricleError, match=name):
        load(tmp_path)


def test_classes_and_tags_must_be_the_same(folder: Path, tmp_path: Path):
    for file in folder.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    lines = (tmp_path / "tags.txt").read_text("utf-8").splitlines()
    lines[0], lines[1] = lines[1], lines[0]
    (tmp_path / "tags.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    with pytest.raises(AuricleError, match=r"tags\.txt"):
        load(tmp_path)


def test_training_goes_on_from_plans_to_frames_and_tags(folder: Path):
    checkpoint = load_checkpoint(folder)
    recipe = load_recipe(Path("finetune"), ["train.initial=checkpoint", f"train.weights={folder}"])
    assert recipe.decoder.tags
    assert recipe.decoder.tied
    assert not recipe.decoder.plan
    tensors = tensors_of_planned(load_planned(checkpoint))
    assert tensors["tags.classes.weight"].shape == (AUDIOSET_CLASSES, DECODER.width)
    assert tensors["decoder.embedding.weight"].shape[0] == len(checkpoint.vocabulary)
