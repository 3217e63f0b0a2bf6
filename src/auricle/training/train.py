"""The encoder-decoder stage: the captioner learns to say what the encoder hears."""

import copy
import math
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.checkpoint import FORMAT, Checkpoint, CheckpointConfig, save_checkpoint
from auricle.data.batches import Batches
from auricle.features import front_end
from auricle.models.captioning import CaptioningModel
from auricle.training.augment import draw_mixing, spec_augment
from auricle.training.config import Recipe, TrainConfig
from auricle.training.export import export_onnx
from auricle.training.prepare import Data, load_encoder, prepare_data
from auricle.training.pretrain import load_pre_encoder
from auricle.training.run import Run, make_accelerator
from auricle.training.validate import evaluate_captions
from auricle.training.weights import halve, save_weights
from auricle.training.word2vec import train_word2vec
from auricle.vocabulary import PAD


def learning_rate(config: TrainConfig, epochs_done: float) -> float:
    """The learning rate after so many epochs, a fraction of one included.

    `paper`: linear from 0 over five epochs, the highest for five, then a tenth of it for every five that follow. The last
    step of an epoch still belongs to it.
    `cosine`: linear from 0 over `warmup` epochs, then half a cosine down to 0.
    """
    if config.schedule == "paper":
        share = epochs_done / 5 if epochs_done < 5 else 10.0 ** -max(0, math.ceil(epochs_done / 5) - 2)
    elif epochs_done < config.warmup:
        share = epochs_done / config.warmup
    else:
        share = (1 + math.cos(math.pi * (epochs_done - config.warmup) / max(config.epochs - config.warmup, 1e-9))) / 2
    return config.learning_rate * share


def train(recipe: Recipe, *, resume: bool = False, progress: bool = True) -> Path:
    """Trains the captioner and writes its checkpoint folder, ONNX files included.

    Args:
        recipe: what to do.
        resume: go on with a training that was stopped.
        progress: show bars.

    Returns:
        The checkpoint folder.

    Raises:
        AuricleError: the data, weights or folder are not what they should be.
    """
    accelerator = make_accelerator()
    progress &= accelerator.is_main_process
    stage = recipe.train
    data = prepare_data(recipe, accelerator, progress)
    run = Run(recipe.captioner_folder, recipe, resume=resume, main=accelerator.is_main_process)
    torch.manual_seed(recipe.seed)
    model = CaptioningModel(recipe.encoder, recipe.decoder, len(data.vocabulary))
    if stage.initial == "weights":
        load_encoder(model.encoder, stage.weights)
    elif stage.initial == "pre-encoder":
        model.encoder.load_state_dict(load_pre_encoder(recipe, len(data.vocabulary)).audio.state_dict())
    vectors = train_word2vec(data.captions, data.vocabulary, recipe.word2vec, recipe.seed)
    model.decoder.embedding.weight.data.copy_(vectors)
    optimizer = torch.optim.AdamW(parameter_groups(model, stage), stage.learning_rate)
    kept = copy.deepcopy(model).to(accelerator.device) if stage.ema else model
    modules = {"model": model, "average": kept} if stage.ema else {"model": model}
    prepared, prepared_optimizer = accelerator.prepare(model, optimizer)
    run.restore(modules, optimizer)
    batches = data.batches(recipe.data, stage.batch_size, accelerator)
    valid = data.valid_batches(recipe.data, stage.batch_size) if data.valid else None

    for steps in run.passes("captioner", stage.epochs, batches, recipe.seed, accelerator, progress):
        prepared.train()
        for epochs_done, batch in steps:
            rate = learning_rate(stage, epochs_done)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]
            log_mel = spec_augment(batch.log_mel, stage.augmentation, front_end(recipe.data.front_end))
            mixing = draw_mixing(len(log_mel), stage.augmentation, accelerator.device)
            targets = batch.tokens[:, 1:]
            logits = prepared(log_mel, batch.frames, batch.tokens[:, :-1], mixing)
            # The mean over the words of all processes: data parallelism averages what each of them has.
            words = accelerator.reduce((targets != PAD).sum(), "sum") / accelerator.num_processes
            loss = word_loss(logits, targets, stage.label_smoothing) / words
            accelerator.backward(loss)
            prepared_optimizer.step()
            prepared_optimizer.zero_grad()
            if stage.ema:
                move_average(kept, model, stage.ema)
            steps.note(loss, f"rate {rate:.1e}")
        record = steps.record() | {"learning_rate": learning_rate(stage, steps.epoch + 1)}
        if valid is not None:
            record["valid_loss"] = validation_loss(kept, valid, accelerator.device)
            record |= evaluate_captions(kept, data, recipe, accelerator.device)
        if stage.keep != "last":
            # All processes follow the main one: batch norm's statistics differ between them.
            better = broadcast_object_list(
                [record["valid_cider_d"] if stage.keep == "best_cider_d" else -record["valid_loss"]]
            )[0]
            if run.state.best is None or better > run.state.best:
                run.state.best = better
                if accelerator.is_main_process:
                    save_weights(run.folder / "model.safetensors", halve(kept.state_dict()))
        run.end_epoch(record, modules, optimizer)

    if accelerator.is_main_process:
        if stage.keep == "last":
            save_weights(run.folder / "model.safetensors", halve(kept.state_dict()))
        finish(run.folder, recipe, data)
    accelerator.wait_for_everyone()
    accelerator.end_training()
    return run.folder


def finish(folder: Path, recipe: Recipe, data: Data) -> None:
    """Makes a checkpoint folder of one that holds `model.safetensors`."""
    config = CheckpointConfig(
        FORMAT,
        recipe.data.front_end,
        recipe.encoder,
        recipe.decoder,
        recipe.decoding,
        recipe.data.maximum_seconds,
        data.longest(recipe.data),
        recipe.licence,
    )
    save_checkpoint(Checkpoint(folder, config, data.vocabulary))
    export_onnx(folder)


def parameter_groups(model: CaptioningModel, config: TrainConfig) -> list[dict[str, object]]:
    """Encoder and the rest, each with its share of the learning rate, and with weight decay for matrices only."""
    groups: list[dict[str, object]] = []
    for part, share in ((model.encoder, config.encoder_rate), (nn.ModuleList([model.bridge, model.decoder]), 1.0)):
        for wanted, decay in ((True, config.weight_decay), (False, 0.0)):
            parameters = [p for p in part.parameters() if p.requires_grad and (p.dim() > 1) == wanted]
            groups.append({"params": parameters, "weight_decay": decay, "share": share})
    return groups


def word_loss(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Cross entropy summed over words: (batch, length, words), (batch, length) padded -> scalar."""
    return F.cross_entropy(
        logits.flatten(0, 1).float(),
        targets.flatten(),
        ignore_index=PAD,
        label_smoothing=label_smoothing,
        reduction="sum",
    )


@torch.inference_mode()
def validation_loss(model: CaptioningModel, batches: Batches, device: torch.device) -> float:
    """Mean cross entropy of a word, over all captions of the validation splits."""
    model.eval()
    total = words = 0.0
    for batch in batches.epoch(0, 0):
        batch = batch.to(device)
        targets = batch.tokens[:, 1:]
        total += float(word_loss(model(batch.log_mel, batch.frames, batch.tokens[:, :-1]), targets, 0.0))
        words += float((targets != PAD).sum())
    return total / words


@torch.no_grad()
def move_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves every floating-point tensor of the average towards the model's; counters are copied."""
    current = model.state_dict()
    for name, tensor in average.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(current[name], 1 - decay)
        else:
            tensor.copy_(current[name])
