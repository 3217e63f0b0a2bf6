"""Builds the hearing of a captioner that words a plan: its encoder, its shared space, its probe.

    initial weights ─┐
                     ├─ average ─> encoder ─> clips, tags ─┬─ ridge ──> shared space
    pre-encoder ─────┘                                     └─ L-BFGS ─> probe

The pre-encoder knows the sounds that it was trained on better than the initial weights, and other
sounds worse. The average of both weights keeps most of either (Wortsman et al. 2022, "Robust
fine-tuning of zero-shot models"). Nothing here is trained by gradients through the encoder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from auricle.data.cache import FeatureCache
from auricle.data.manifest import Item
from auricle.data.progress import Report
from auricle.errors import AuricleError
from auricle.models.cnn10 import AUDIOSET_CLASSES
from auricle.models.contrastive import PreEncoder, tag_features
from auricle.models.encoder import Tagger, frame_mask
from auricle.models.planned import PlannedCaptioner
from auricle.planning.classes import SoundClasses
from auricle.sound.features import front_end, pad_with_silence
from auricle.storage.csv_table import read_rows
from auricle.training.config import Recipe
from auricle.training.initial import load_encoder
from auricle.training.plan_config import ProbeConfig


@dataclass(frozen=True)
class Clips:
    """Sounds as an encoder hears them."""

    embeddings: Tensor  # (sounds, size)
    tags: Tensor  # (sounds, 527), logits


@dataclass(frozen=True)
class ProbeTargets:
    """What the probe learns to tell apart."""

    rendered: list[Path]  # sounds that follow the recordings
    sounds: list[int]  # the sounds with a target
    numbers: list[int]  # the target of each
    classes: list[int]  # the class of each target
    boosts: list[float]  # of each target
    gated: set[int]  # targets that count only for clips near their own sounds


def build_hearing(
    recipe: Recipe,
    pre_encoder: PreEncoder,
    classes: SoundClasses,
    targets: ProbeTargets,
    spectrograms: Sequence[np.ndarray],
    report: Report,
) -> PlannedCaptioner:
    """Returns a captioner whose encoder, space and probe are ready, and whose decoder is not.

    Args:
        recipe: the recipe of the training.
        pre_encoder: the trained pre-encoder.
        classes: AudioSet's and further ones, which have no tags.
        targets: the targets of the probe.
        spectrograms: of the recordings to learn from, (frames, mels) each.
        report: takes the progress.

    Raises:
        AuricleError: weights or sounds cannot be used.
    """
    config = recipe.probe
    untagged = len(classes) - AUDIOSET_CLASSES
    words = pre_encoder.space.text.embedding.num_embeddings
    sizes = (words, recipe.pretrain.projection, len(targets.classes), untagged)
    model = PlannedCaptioner(recipe.encoder, recipe.decoder, *sizes)
    load_encoder(model.encoder, recipe.pretrain.weights)
    average_weights(model.encoder, pre_encoder.audio, config.average)
    model.space.load_state_dict(pre_encoder.space.state_dict())
    hears = front_end(recipe.data.front_end)
    recordings = [pad_with_silence(one, recipe.minimum_seconds, hears) for one in spectrograms]
    averaged = hear_clips(model.encoder, recordings, report)
    assert isinstance(pre_encoder.audio, Tagger)
    tuned = hear_clips(pre_encoder.audio, recordings, report)
    move_projections(model, pre_encoder, averaged, tuned, config.ridge)
    cache = FeatureCache(hears, recipe.data.maximum_seconds)
    loaded = cache.load(targets.rendered, report=report).spectrograms if targets.rendered else []
    rendered = [pad_with_silence(one, recipe.minimum_seconds, hears) for one in loaded]
    renderings = hear_clips(model.encoder, rendered, report).embeddings
    embeddings = torch.cat([averaged.embeddings, renderings])[targets.sounds]
    model.probe.fit(embeddings, torch.tensor(targets.numbers))
    _set_tables(model, targets, classes, config)
    return model.eval()


def read_targets(
    config: ProbeConfig, recordings: Sequence[Item], classes: SoundClasses
) -> ProbeTargets:
    """Reads the targets of the probe, from the tables that the recipe names.

    Raises:
        AuricleError: a table cannot be read, or names an unknown class or too few classes.
    """
    labels = read_classes(Path(config.labels), "label", classes) if config.labels else {}
    rendered = read_classes(Path(config.rendered), "file", classes) if config.rendered else {}
    folder = Path(config.rendered).parent
    found = {folder / file: sound_class for file, sound_class in rendered.items()}
    return probe_targets([item.label for item in recordings], labels, found, config)


def read_classes(path: Path, key: str, classes: SoundClasses) -> dict[str, int]:
    """Reads the class of each value of a column: a CSV with the columns `key` and `class`.

    Raises:
        AuricleError: the file cannot be read, lacks a column or names an unknown class.
    """
    found: dict[str, int] = {}
    for row in read_rows(path, (key, "class")):
        if row["class"] not in classes.indices:
            raise AuricleError(
                f"{path}: unknown class {row['class']!r} of {row[key]!r}: "
                "expected a class of data.sentences"
            )
        found[row[key]] = classes.indices[row["class"]]
    return found


def probe_targets(
    labels: Sequence[str],
    classes_of_labels: Mapping[str, int],
    rendered: Mapping[Path, int],
    config: ProbeConfig,
) -> ProbeTargets:
    """Returns what the probe learns: the classes of labels, and those of rendered sounds.

    A class may have both a target of recordings and one of rendered sounds: they sound different.

    Args:
        labels: of the recordings; those without a class are left out.
        classes_of_labels: label -> class.
        rendered: rendered sound -> class; these sounds follow the recordings.
        config: gives the boosts.
    """
    # A kind of target is its class, and whether its sounds are rendered.
    kinds = [
        (number, (classes_of_labels[label], False))
        for number, label in enumerate(labels)
        if label in classes_of_labels
    ]
    kinds += [
        (number, (sound_class, True))
        for number, sound_class in enumerate(rendered.values(), len(labels))
    ]
    targets = list(dict.fromkeys(sorted(kind for _, kind in kinds)))
    if len(targets) < 2:
        raise AuricleError(
            "the probe needs sounds of at least two classes: name the classes of the manifest's "
            "labels in probe.labels, or rendered sounds in probe.rendered"
        )
    places = {target: place for place, target in enumerate(targets)}
    return ProbeTargets(
        list(rendered),
        [number for number, _ in kinds],
        [places[kind] for _, kind in kinds],
        [sound_class for sound_class, _ in targets],
        [config.rendered_boost if is_rendered else config.boost for _, is_rendered in targets],
        {place for (_, is_rendered), place in places.items() if not is_rendered},
    )


@torch.no_grad()
def average_weights(network: nn.Module, tuned: nn.Module, share: float) -> None:
    """Replaces a network's weights by `share` of them and the rest of another network's."""
    others = tuned.state_dict()
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.lerp_(others[name], 1 - share)


@torch.inference_mode()
def hear_clips(encoder: Tagger, spectrograms: Sequence[np.ndarray], report: Report) -> Clips:
    """Returns the embeddings and tags of sounds, each heard by itself."""
    encoder.eval()
    embeddings, tags = [torch.zeros(0, encoder.size)], [torch.zeros(0, AUDIOSET_CLASSES)]
    for number, spectrogram in enumerate(spectrograms, start=1):
        report("Hearing clips", number, len(spectrograms))
        features = encoder(torch.from_numpy(np.array(spectrogram, np.float32))[None])
        mask = frame_mask(torch.tensor([features.shape[1]]), features.shape[1])
        embeddings.append(encoder.embed(features, mask))
        tags.append(encoder.tags(features, mask))
    return Clips(torch.cat(embeddings), torch.cat(tags))


@torch.no_grad()
def move_projections(
    model: PlannedCaptioner,
    pre_encoder: PreEncoder,
    averaged: Clips,
    tuned: Clips,
    ridge: float,
) -> None:
    """Moves the projections of sounds so that averaged weights embed sounds as tuned ones do.

    Ridge regression in closed form: the change of the projections is small, and makes the
    projected clips of the averaged encoder equal those of the pre-encoder.

    Args:
        model: has the averaged encoder; its projections are changed.
        pre_encoder: the tuned encoder and its space.
        averaged: sounds as the averaged encoder hears them.
        tuned: the same sounds as the tuned one hears them.
        ridge: weight of the squared change.
    """
    space, before = model.space, pre_encoder.space
    assert space.tag_projection is not None
    assert before.tag_projection is not None
    target = before.audio_projection(tuned.embeddings)
    target = target + before.tag_projection(tag_features(tuned.tags.sigmoid()))
    inputs = torch.cat([averaged.embeddings, tag_features(averaged.tags.sigmoid())], dim=1).double()
    ones = torch.ones(len(inputs), 1, dtype=inputs.dtype)
    inputs = torch.cat([inputs, ones], dim=1)
    weights = [space.audio_projection.weight, space.tag_projection.weight]
    matrix = torch.cat([*weights, space.audio_projection.bias[:, None]], dim=1).double().T
    residual = target.double() - inputs @ matrix
    gram = inputs.T @ inputs + ridge * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    moved = (matrix + torch.linalg.solve(gram, inputs.T @ residual)).T.float()
    audio, tags, bias = moved.split([weights[0].shape[1], weights[1].shape[1], 1], dim=1)
    space.audio_projection.weight.copy_(audio)
    space.tag_projection.weight.copy_(tags)
    space.audio_projection.bias.copy_(bias[:, 0])


@torch.no_grad()
def _set_tables(
    model: PlannedCaptioner, targets: ProbeTargets, classes: SoundClasses, config: ProbeConfig
) -> None:
    """Fills the tables of the probe."""
    probe = model.probe
    for target, (sound_class, boost) in enumerate(
        zip(targets.classes, targets.boosts, strict=True)
    ):
        probe.targets[target, sound_class] = 1
        probe.boost[target] = boost
        probe.gated[target] = float(target in targets.gated)
    probe.floor.fill_(config.floor)
    probe.gate.copy_(torch.tensor([config.gate_low, config.gate_high]))
    for number, sound_class in enumerate(classes.classes[AUDIOSET_CLASSES:]):
        for name in sound_class.support:
            probe.support[number, classes.indices[name]] = 1
