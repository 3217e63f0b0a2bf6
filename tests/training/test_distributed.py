"""Two processes learn what one does: the same loss and the same gradients."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from tiny import run_ranks, run_stage, tiny_recipe

from auricle.checkpoint.config import DecoderConfig, EncoderConfig
from auricle.checkpoint.vocabulary import PAD, Vocabulary
from auricle.data.batches import Batches, BatchOptions, Share
from auricle.data.manifest import Item
from auricle.data.progress import SILENT
from auricle.data.texts import Texts
from auricle.models.captioning import CaptioningModel
from auricle.models.cnn10 import AUDIOSET_CLASSES
from auricle.models.contrastive import PreEncoder, contrastive_loss
from auricle.reproduction import stages as stages_module
from auricle.reproduction.plan import PlannedRun
from auricle.reproduction.stages import train_run
from auricle.training.loop import is_main_process, make_accelerator
from auricle.training.pretrain import also_fitting, gather_with_gradient, tag_distillation
from auricle.training.validate import word_loss
from auricle.training.weights import load_weights, save_weights

SOUNDS, TEXTS = 8, 4
ENCODER = EncoderConfig("cnn10", 1 / 16)


def made_batches(accelerator: Accelerator) -> Batches:
    """One batch in an epoch, of eight sounds and four captions without sound.

    Captions are of different lengths, some sounds have a label in common, and one text is a sound's
    caption too.
    """
    rng = np.random.default_rng(0)
    items = [
        Item(
            Path(f"{i}.wav"),
            "train",
            (" ".join(f"word{k}" for k in range(i, 2 * i + 1)),),
            label=f"l{i // 3}",
        )
        for i in range(SOUNDS)
    ]
    spectrograms = [rng.normal(-30, 10, (48, 64)).astype(np.float32) for _ in items]
    vocabulary = Vocabulary.build([item.captions[0] for item in items])
    captions = ["word1 word2", "word5", "word3 word9 word4", "word2 word2 word7"]
    told = [{number * 100: 0.7} for number in range(TEXTS)]
    profiles = np.sort(rng.uniform(0.1, 1, (5, 8)).astype(np.float32))[:, ::-1]
    texts = Texts(captions, told, profiles, rng.normal(size=(AUDIOSET_CLASSES, 6)), vocabulary)
    return Batches(
        items,
        spectrograms,
        vocabulary,
        BatchOptions(SOUNDS, texts_per_batch=TEXTS),
        texts=texts,
        share=Share(accelerator.process_index, accelerator.num_processes),
    )


def contrastive_step(path: Path, masked: bool) -> None:
    """One step of pre-training, frozen and without dropout; the main process writes loss and
    gradients."""
    accelerator = make_accelerator()
    batches = made_batches(accelerator)
    torch.manual_seed(0)
    model = PreEncoder(
        ENCODER, len(batches.collator.vocabulary), 8, 12, 0.2, True, tags=True
    ).eval()
    prepared = accelerator.prepare(model).eval()
    (batch,) = batches.epoch(0, 0)
    audio, captions, temperature, tags = prepared(
        batch.log_mel, batch.frames, batch.words(), batch.text_tags
    )
    also_fit = also_fitting(batch, accelerator) if masked else None
    contrast = contrastive_loss(
        gather_with_gradient(audio), gather_with_gradient(captions), temperature, also_fit
    )
    loss = contrast + 0.01 * tag_distillation(tags, torch.full_like(tags, 0.3))
    accelerator.backward(loss)
    write(path, accelerator, model, mean_loss(loss, accelerator))


def captioning_step(path: Path, _: bool) -> None:
    """Likewise one step of the captioner, normalised as the loop does."""
    accelerator = make_accelerator()
    batches = made_batches(accelerator)
    torch.manual_seed(0)
    model = CaptioningModel(
        ENCODER, DecoderConfig(16, 2, 2, 32, tags=3), len(batches.collator.vocabulary)
    ).eval()
    prepared = accelerator.prepare(model).eval()
    (batch,) = batches.epoch(0, 0)
    targets = batch.tokens[:, 1:]
    logits = prepared(batch.log_mel, batch.frames, batch.tokens[:, :-1], batch.text_tags)
    words = accelerator.reduce((targets != PAD).sum(), "sum") / accelerator.num_processes  # type: ignore[operator]
    loss = word_loss(logits, targets, 0.1) / words
    accelerator.backward(loss)
    write(path, accelerator, model, mean_loss(loss, accelerator))


def mean_loss(loss: torch.Tensor, accelerator: Accelerator) -> torch.Tensor:
    mean = accelerator.reduce(loss.detach(), "mean")
    assert isinstance(mean, torch.Tensor)
    return mean


def write(path: Path, accelerator: Accelerator, model: torch.nn.Module, loss: torch.Tensor) -> None:
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    if accelerator.is_main_process:
        save_weights(path, {"loss": loss, **gradients})
    accelerator.end_training()


@pytest.mark.parametrize(
    ("step", "masked"),
    [(contrastive_step, False), (contrastive_step, True), (captioning_step, False)],
)
def test_two_processes_have_the_loss_and_gradients_of_one(
    step: Callable[..., None], masked: bool, tmp_path: Path
):
    found = []
    for ranks in (1, 2):
        path = tmp_path / f"{ranks}.safetensors"
        run_ranks(step, path, masked, ranks=ranks)
        found.append(load_weights(path))
    one, two = found
    assert one.keys() == two.keys()
    assert len(one) > 20
    for name, tensor in one.items():
        rounding = 1e-4 * float(tensor.abs().max()) + 1e-7
        assert float((two[name] - tensor).abs().max()) < rounding, name
        assert tensor.any() or "key.bias" in name, name


def test_masks_matter(tmp_path: Path):
    for masked in (False, True):
        run_ranks(contrastive_step, tmp_path / str(masked), masked, ranks=1)
    losses = [float(load_weights(tmp_path / str(masked))["loss"]) for masked in (False, True)]
    assert losses[0] > losses[1] + 0.01


def train_both_stages(run: PlannedRun, record: Path) -> None:
    """Carries out a run's stages in this process, the second in bfloat16."""
    stages_module.STAGE_TRAININGS = {
        name: lambda recipe, name=name, **_: run_stage({}, name, recipe, True, None)
        for name in ("pretrain", "train")
    }
    train_run(run, SILENT)
    precision = make_accelerator().mixed_precision
    if is_main_process():
        record.write_text(precision)


@pytest.mark.parametrize("ranks", [1, 2])
def test_no_stage_hands_its_state_on_to_the_next(ranks: int, tiny_manifest: Path, tmp_path: Path):
    recipe = tiny_recipe(
        tiny_manifest,
        tmp_path,
        pretrain__epochs=1,
        train__epochs=1,
        train__bfloat16=True,
        train__initial="pre-encoder",
        train__keep="best_loss",
    )
    run = PlannedRun("exp2", 0, recipe, "tiny")
    run_ranks(train_both_stages, run, tmp_path / "precision", ranks=ranks)
    assert (tmp_path / "precision").read_text() == "no"
    for folder in ("pre-encoder", "captioner"):
        lines = (tmp_path / folder / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in lines] == [1]
        assert load_weights(tmp_path / folder / "model.safetensors")


def write_timeout(path: Path, _: bool) -> None:
    make_accelerator()
    group = torch.distributed.distributed_c10d._get_default_group()
    backend = group._get_backend(torch.device("cpu"))
    path.write_text(str(backend.options._timeout.total_seconds()))


def test_the_main_process_may_prepare_data_for_hours(tmp_path: Path):
    run_ranks(write_timeout, tmp_path / "seconds", False, ranks=1)
    assert float((tmp_path / "seconds").read_text()) >= 6 * 3600
