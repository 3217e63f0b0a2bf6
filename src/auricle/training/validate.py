"""Measures networks on the validation splits while they are trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from auricle.captioning.beam_search import search_captions
from auricle.checkpoint.config import BeamOptions
from auricle.checkpoint.vocabulary import PAD, STOP_WORDS, words
from auricle.data.batches import Batches
from auricle.data.collation import Batch
from auricle.data.manifest import Item
from auricle.evaluation.cider import CiderD
from auricle.models.captioning import CaptioningModel
from auricle.models.contrastive import PreEncoder, fitting_pairs, retrieval
from auricle.training.prepare import Data


def caption_scorer(items: Sequence[Item]) -> CiderD:
    """Returns CIDEr-D against the captions of some sounds, and their document frequencies."""
    return CiderD(
        {str(item.file): [" ".join(words(caption)) for caption in item.captions] for item in items}
    )


@torch.inference_mode()
def evaluate_captions(
    model: CaptioningModel,
    data: Data,
    decoding: BeamOptions,
    batch_size: int,
    device: torch.device,
) -> dict[str, float]:
    """Captions the sounds of the validation splits, and measures the captions.

    See `caption_record` for the result.
    """
    model.eval()
    captions: dict[str, list[str]] = {}
    for batch in data.valid_batches(batch_size, rounds=1).epoch(0, 0):
        batch = batch.to(device)
        search = model.next_log_probs(batch.log_mel, batch.frames)
        found = search_captions(search, data.vocabulary, decoding, len(batch.items))
        for item, hypotheses in zip(batch.items, found, strict=True):
            captions[str(item.file)] = (
                data.vocabulary.decode(hypotheses[0].tokens) if hypotheses else []
            )
    return caption_record(captions, caption_scorer(data.valid))


def caption_record(captions: Mapping[str, Sequence[str]], scorer: CiderD) -> dict[str, float]:
    """Measures captions, given as words by file.

    Returns:
        `valid_cider_d`; `valid_words`, the mean length; `valid_unfinished`, the share of captions
        that are empty or end in a stop word; and `valid_distinct`, the number of different captions
        divided by the number of all.
    """
    scores = [scorer(file, " ".join(words)) for file, words in captions.items()]
    lengths = [len(words) for words in captions.values()]
    unfinished = [not words or words[-1] in STOP_WORDS for words in captions.values()]
    distinct = len({" ".join(words) for words in captions.values()}) / len(captions)
    return {
        "valid_cider_d": round(float(np.mean(scores)), 4),
        "valid_words": round(float(np.mean(lengths)), 2),
        "valid_unfinished": round(float(np.mean(unfinished)), 4),
        "valid_distinct": round(distinct, 4),
    }


def word_loss(logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Returns the cross entropy, summed over words.

    Args:
        logits: (batch, length, words).
        targets: (batch, length), padded.
        label_smoothing: share of the probability that goes to all words alike.
    """
    present = targets != PAD
    return F.cross_entropy(
        logits[present].float(), targets[present], label_smoothing=label_smoothing, reduction="sum"
    )


@torch.inference_mode()
def validation_loss(model: CaptioningModel, batches: Batches, device: torch.device) -> float:
    """Returns the mean cross entropy of a word, over a caption of each sound."""
    model.eval()
    total = words = 0.0
    for batch in batches.epoch(0, 0):
        batch = batch.to(device)
        targets = batch.tokens[:, 1:]
        logits = model(batch.log_mel, batch.frames, batch.tokens[:, :-1])
        total += float(word_loss(logits, targets, 0.0))
        words += float((targets != PAD).sum())
    return total / words


@torch.inference_mode()
def evaluate_retrieval(
    model: PreEncoder, batches: Batches, device: torch.device
) -> dict[str, float]:
    """Measures retrieval among all sounds, each once, and all their captions.

    A caption is right for a sound if it is its own, or if recording, caption or label are equal.
    """
    model.eval()
    audio, captions, keys = [], [], ([], [], [])
    rows_of: dict[Path, list[int]] = {}  # a sound comes once for each of its captions
    for batch in batches.epoch(0, 0):
        on_device = batch.to(device)
        audio.append(model.embed_audio(on_device.log_mel, on_device.frames).float().cpu())
        captions.append(model.embed_text(on_device.words()).float().cpu())
        for row, item in enumerate(batch.items, len(keys[0])):
            rows_of.setdefault(item.file, []).append(row)
        for values, more in zip(keys, pair_keys(batch), strict=True):
            values.extend(more)
    fit = fitting_pairs(*keys)
    relevant = np.zeros((len(rows_of), len(fit)), bool)
    for sound, rows in enumerate(rows_of.values()):
        relevant[sound] = fit[rows].any(0)
        relevant[sound, rows] = True
    first = [rows[0] for rows in rows_of.values()]
    similarity = torch.cat(audio)[first] @ torch.cat(captions).T
    scores = retrieval(similarity.numpy(), relevant)
    return {name: round(value, 4) for name, value in scores.items()}


def pair_keys(batch: Batch) -> tuple[list[str], list[str], list[str]]:
    """Returns recording, caption and label of each pair; empty where unknown."""
    unknown = [""] * (len(batch.captions) - len(batch.items))  # of captions without sound
    groups, labels = [item.group for item in batch.items], [item.label for item in batch.items]
    return groups + unknown, list(batch.captions), labels + unknown


def mean_map_10(record: Mapping[str, float]) -> float:
    """Returns the mean of both directions' mAP@10."""
    return (record["audio_to_text_map_10"] + record["text_to_audio_map_10"]) / 2
