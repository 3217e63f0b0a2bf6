"""The encoder-decoder stage: the captioner learns to say what the encoder hears."""

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.nn import functional as F

from auricle.checkpoint.config import FORMAT, CheckpointConfig
from auricle.checkpoint.folder import Checkpoint, save_checkpoint
from auricle.checkpoint.vocabulary import PAD, SPECIAL, Vocabulary
from auricle.data.batches import Batches
from auricle.models.captioning import CaptioningModel
from auricle.sound.features import front_end
from auricle.training.augment import decoder_augment, spec_augment
from auricle.training.config import Recipe, TrainConfig, initial_checkpoint
from auricle.training.export import export_onnx, load_model
from auricle.training.prepare import Data, load_encoder, name_vectors, prepare_data
from auricle.training.pretrain import load_pre_encoder
from auricle.training.run import Run, make_accelerator
from auricle.training.tags import read_class_names
from auricle.training.validate import evaluate_captions
from auricle.training.weights import halve, load_strictly, save_weights
from auricle.training.word2vec import train_word2vec

STANDARD_SOUNDS = 64  # by which a memory's scale is set


def learning_rate(config: TrainConfig, epochs_done: float) -> float:
    """The learning rate after so many epochs, a fraction of one included.

    `paper`: linear from 0 over five epochs, the highest for five, then a tenth of it for every five
    that follow. The last step of an epoch still belongs to it. `cosine` and `linear`: linear from 0
    over `warmup` epochs, then half a cosine, or a straight line, down to 0.
    """
    if config.schedule == "paper":
        share = (
            epochs_done / 5 if epochs_done < 5 else 10.0 ** -max(0, math.ceil(epochs_done / 5) - 2)
        )
    elif epochs_done < config.warmup:
        share = epochs_done / config.warmup
    else:
        fallen = (epochs_done - config.warmup) / max(config.epochs - config.warmup, 1e-9)
        share = (1 + math.cos(math.pi * fallen)) / 2 if config.schedule == "cosine" else 1 - fallen
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
    stage = recipe.train
    accelerator = make_accelerator(bfloat16=stage.bfloat16)
    progress &= accelerator.is_main_process
    data = prepare_data(recipe, accelerator, progress)
    run = Run(recipe.captioner_folder, recipe, resume=resume, main=accelerator.is_main_process)
    torch.manual_seed(recipe.seed)
    model = build_captioner(recipe, len(data.vocabulary))
    if stage.initial == "weights":
        load_encoder(model.encoder, stage.weights)
    elif stage.initial == "pre-encoder":
        pre_encoder = load_pre_encoder(recipe, data.vocabulary)
        model.encoder.load_state_dict(pre_encoder.audio.state_dict())
        if model.space is not None:
            model.space.load_state_dict(pre_encoder.space.state_dict())
    elif stage.initial == "checkpoint":
        load_checkpoint_tensors(model, initial_checkpoint(recipe), data.vocabulary, data.captions)
    if recipe.word2vec.epochs:
        vectors = train_word2vec(data.captions, data.vocabulary, recipe.word2vec, recipe.seed)
        model.decoder.embedding.weight.data.copy_(vectors)
        if model.tags is not None:
            names = read_class_names(Path(recipe.tags.names))
            model.tags.classes.weight.data.copy_(name_vectors(names, vectors, data.vocabulary))
    if not stage.encoder_rate:
        model.freeze_encoder()
    if stage.texts_per_batch:
        data = data.with_texts(recipe, model.encoder, progress)
    if stage.initial != "checkpoint" and model.memory_encoder is None:
        standardise_bridge(model, data.spectrograms[: len(data.train)])
    optimizer = torch.optim.AdamW(parameter_groups(model, stage), stage.learning_rate)
    kept = copy.deepcopy(model).to(accelerator.device) if stage.ema else model
    modules = {"model": model, "average": kept} if stage.ema else {"model": model}
    prepared, prepared_optimizer = accelerator.prepare(model, optimizer)
    run.restore(modules, optimizer)
    batches = data.batches(
        stage.batch_size,
        accelerator,
        augmentation=stage.augmentation,
        texts_per_batch=stage.texts_per_batch,
    )
    valid = data.valid_batches(stage.batch_size, rounds=1) if data.valid else None
    augment = decoder_augment(stage.augmentation, recipe.decoder.tags)

    for steps in run.passes("captioner", stage.epochs, batches, recipe.seed, accelerator, progress):
        prepared.train()
        for step, (epochs_done, batch) in enumerate(steps, start=1):
            rate = learning_rate(stage, epochs_done)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["share"]
            log_mel = spec_augment(
                batch.log_mel, stage.augmentation, front_end(recipe.data.front_end)
            )
            targets = batch.tokens[:, 1:]
            logits = prepared(log_mel, batch.frames, batch.tokens[:, :-1], batch.text_tags, augment)
            # The mean over the words of all processes: data parallelism averages what each of them
            # has.
            words = accelerator.reduce((targets != PAD).sum(), "sum") / accelerator.num_processes
            loss = word_loss(logits, targets, stage.label_smoothing) / words
            accelerator.backward(loss / stage.accumulate)
            if step % stage.accumulate == 0 or step == steps.count:
                if stage.clip:
                    accelerator.clip_grad_norm_(model.parameters(), stage.clip)
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


def build_captioner(recipe: Recipe, words: int) -> CaptioningModel:
    """The network of a recipe, at random weights."""
    return CaptioningModel(recipe.encoder, recipe.decoder, words, space_size(recipe))


def space_size(recipe: Recipe) -> int:
    """The size of the space that a captioner takes over from what it begins with: it may, if it
    leaves the encoder as it was.
    """
    has_space = (
        recipe.train.initial in ("pre-encoder", "checkpoint") and not recipe.train.encoder_rate
    )
    return recipe.pretrain.projection if has_space else 0


# Tensors with a row for each word.
WORD_TENSORS = (
    "decoder.embedding.weight",
    "decoder.output.weight",
    "decoder.output.bias",
    "space.text.embedding.weight",
)


def load_checkpoint_tensors(
    model: CaptioningModel, checkpoint: Checkpoint, vocabulary: Vocabulary, captions: Sequence[str]
) -> None:
    """Puts a captioner's tensors into a network like it that may know more words.

    A new word begins as the mean of the known words of the captions that it stands in, and as
    likely as the mean of all words.

    Args:
        model: of the checkpoint's sizes.
        checkpoint: the captioner.
        vocabulary: the checkpoint's, and new words after those.
        captions: what is learnt from.

    Raises:
        AuricleError: a tensor is missing, left over, or of another shape.
    """
    state = load_model(checkpoint).state_dict()
    if model.space is None:  # an encoder that is trained on leaves the space behind
        state = {name: tensor for name, tensor in state.items() if not name.startswith("space.")}
    known, words = len(checkpoint.vocabulary), len(vocabulary)
    # how often each known word stands in a caption with each new one
    beside = torch.zeros(words - known, known)
    for caption in captions:
        numbers = set(vocabulary.encode(caption))
        old = [number for number in numbers if len(SPECIAL) <= number < known]
        for number in numbers:
            if number >= known:
                beside[number - known, old] += 1
    beside[beside.sum(1) == 0] = 1
    beside /= beside.sum(1, keepdim=True)
    for name in WORD_TENSORS if words > known else ():
        if name in state:
            tensor = state[name]
            more = beside @ tensor if tensor.dim() > 1 else tensor.mean().expand(words - known)
            state[name] = torch.cat([tensor, more])
    load_strictly(model, state, str(checkpoint.folder))


@torch.inference_mode()
def standardise_bridge(model: CaptioningModel, spectrograms: Sequence[np.ndarray]) -> None:
    """Lets training begin with a memory that varies as much as words do.

    What sounds have in common is taken out, and the mean square of the rest becomes 1 (after
    Mishkin and Matas 2016, "All you need is a good init").

    Args:
        model: at its initial weights.
        spectrograms: (frames, mels) each; some of them are heard.
    """
    # As training will hear them: batch norms of an encoder that learns take their statistics from a
    # batch. A copy keeps none.
    encoder = copy.deepcopy(model.encoder).train(not model.frozen_encoder)
    together = 1 if model.frozen_encoder else 8
    heard = spectrograms[:: max(1, len(spectrograms) // STANDARD_SOUNDS)]
    batches = [heard[i : i + together] for i in range(0, len(heard), together)]
    alike = [
        np.stack([spectrogram[: min(map(len, batch))] for spectrogram in batch])
        for batch in batches
    ]
    features = torch.cat([encoder(torch.from_numpy(batch)).flatten(0, 1) for batch in alike])
    mean = features.mean(0)
    model.bridge.weight.div_(
        ((features - mean) @ model.bridge.weight.T).square().mean().sqrt().clamp(min=1e-6)
    )
    model.bridge.bias.copy_(-model.bridge.weight @ mean)


def finish(folder: Path, recipe: Recipe, data: Data) -> None:
    """Makes a checkpoint folder of one that holds `model.safetensors`."""
    config = CheckpointConfig(
        format=FORMAT,
        front_end=recipe.data.front_end,
        encoder=recipe.encoder,
        decoder=recipe.decoder,
        decoding=recipe.decoding,
        space=space_size(recipe),
        rerank=recipe.rerank,
        second_event=recipe.second_event,
        confidence=recipe.confidence,
        maximum_seconds=recipe.data.maximum_seconds,
        padded_frames=data.longest,
        licence=recipe.licence,
    )
    tags = tuple(read_class_names(Path(recipe.tags.names))) if recipe.decoder.tags else ()
    save_checkpoint(Checkpoint(folder, config, data.vocabulary, tags))
    export_onnx(folder)


def parameter_groups(model: CaptioningModel, config: TrainConfig) -> list[dict[str, object]]:
    """Encoder and the rest, each with its share of the learning rate, and with weight decay for
    matrices only.
    """
    groups: list[dict[str, object]] = []
    rest = nn.ModuleList(
        module for name, module in model.named_children() if name not in ("encoder", "space")
    )
    for part, share in ((model.encoder, config.encoder_rate), (rest, 1.0)):
        for wanted, decay in ((True, config.weight_decay), (False, 0.0)):
            parameters = [
                p for p in part.parameters() if p.requires_grad and (p.dim() > 1) == wanted
            ]
            groups.append({"params": parameters, "weight_decay": decay, "share": share})
    return groups


def word_loss(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Cross entropy summed over words: (batch, length, words), (batch, length) padded -> scalar."""
    present = targets != PAD
    return F.cross_entropy(
        logits[present].float(), targets[present], label_smoothing=label_smoothing, reduction="sum"
    )


@torch.inference_mode()
def validation_loss(model: CaptioningModel, batches: Batches, device: torch.device) -> float:
    """Mean cross entropy of a word, over a caption of each sound of the validation splits."""
    model.eval()
    total = words = 0.0
    for batch in batches.epoch(0, 0):
        batch = batch.to(device)
        targets = batch.tokens[:, 1:]
        total += float(
            word_loss(model(batch.log_mel, batch.frames, batch.tokens[:, :-1]), targets, 0.0)
        )
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
