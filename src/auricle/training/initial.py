"""Initial weights of networks: published ones, those of a captioner, word vectors, and scales."""

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from auricle.checkpoint.folder import Checkpoint
from auricle.checkpoint.vocabulary import SPECIAL, Vocabulary
from auricle.models.captioning import TAG_LEVELS, CaptioningModel
from auricle.models.cnn10 import AUDIOSET_CLASSES
from auricle.models.encoder import Encoder
from auricle.models.planned import PlannedCaptioner
from auricle.training.export import load_model
from auricle.training.export_planned import load_planned
from auricle.training.weights import load_published, load_strictly

SCALE_SOUNDS = 64  # sounds that set the scale of the decoder's memory
SCALE_BATCH_SOUNDS = 8  # sounds that a learning encoder hears together to set the scale
# Tensors with a row for each word.
WORD_TENSORS = (
    "decoder.embedding.weight",
    "decoder.output.weight",
    "decoder.output.bias",
    "space.text.embedding.weight",
)


def load_encoder(encoder: Encoder, path: str) -> None:
    """Loads published weights into an encoder, strictly."""
    load_strictly(encoder, load_published(Path(path)), path)


def load_checkpoint_tensors(
    model: CaptioningModel, checkpoint: Checkpoint, vocabulary: Vocabulary, captions: Sequence[str]
) -> None:
    """Loads a captioner's tensors into a network of the same sizes that may know more words.

    A new word begins as the mean of the known words in its captions, and as likely as the mean of
    all words.

    Args:
        model: a network of the checkpoint's sizes.
        checkpoint: the captioner.
        vocabulary: the checkpoint's words, followed by new words.
        captions: the captions to learn from.

    Raises:
        AuricleError: a tensor is missing, left over, or of another shape.
    """
    if checkpoint.config.decoder.plan:
        state = model.state_dict() | tensors_of_planned(load_planned(checkpoint))
    else:
        state = load_model(checkpoint).state_dict()
    if model.space is None:  # An encoder that learns leaves the space behind.
        state = {name: tensor for name, tensor in state.items() if not name.startswith("space.")}
    known, words = len(checkpoint.vocabulary), len(vocabulary)
    shares = _shares_of_known_words(vocabulary, known, captions)
    for name in WORD_TENSORS if words > known else ():
        if name in state:
            tensor = state[name]
            new = shares @ tensor if tensor.dim() > 1 else tensor.mean().expand(words - known)
            state[name] = torch.cat([tensor, new])
    load_strictly(model, state, str(checkpoint.folder))


def tensors_of_planned(planned: PlannedCaptioner) -> dict[str, Tensor]:
    """Returns the tensors that a captioner with frames and tags takes over from one with plans.

    Its tags begin as the classes of plans do, so that the decoder understands them at once. The
    bridge to its frames is not among the tensors.
    """
    tensors: dict[str, Tensor] = {}
    for part in ("encoder", "space"):
        module = getattr(planned, part)
        tensors |= {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}
    decoder = planned.wording.decoder.state_dict()
    tensors |= {f"decoder.{name}": tensor for name, tensor in decoder.items()}
    plan = planned.wording.plan
    unmarked = plan.roles.weight[0] + plan.repetitions.weight[0] + plan.trends.weight[0]
    tensors["tags.classes.weight"] = plan.classes.weight[:AUDIOSET_CLASSES].detach()
    tensors["tags.levels.weight"] = unmarked.detach().expand(len(TAG_LEVELS) + 1, -1)
    return tensors


def _shares_of_known_words(vocabulary: Vocabulary, known: int, captions: Sequence[str]) -> Tensor:
    """Returns the shares of known words in the captions of each new word: (new, known)."""
    together = torch.zeros(len(vocabulary) - known, known)
    for caption in captions:
        numbers = set(vocabulary.encode(caption))
        old = [number for number in numbers if len(SPECIAL) <= number < known]
        for number in numbers:
            if number >= known:
                together[number - known, old] += 1
    together[together.sum(1) == 0] = 1
    return together / together.sum(1, keepdim=True)


def name_vectors(names: Sequence[str], vectors: Tensor, vocabulary: Vocabulary) -> Tensor:
    """Returns the mean vector of the known words of each name: (names, size).

    A name without known words gets zeros.
    """
    rows = []
    for name in names:
        numbers = [number for number in vocabulary.encode(name)[1:-1] if number >= len(SPECIAL)]
        rows.append(vectors[numbers].mean(0) if numbers else torch.zeros(vectors.shape[1]))
    return torch.stack(rows)


@torch.inference_mode()
def standardise_bridge(model: CaptioningModel, spectrograms: Sequence[np.ndarray]) -> None:
    """Scales the bridge so that the decoder's memory varies as much as words do.

    Removes what all sounds have in common, and makes the mean square of the rest 1 (after Mishkin
    and Matas 2016, "All you need is a good init").

    Args:
        model: at its initial weights.
        spectrograms: (frames, mels) each; the function uses `SCALE_SOUNDS` of them.
    """
    # Batch norms of an encoder that learns use the statistics of a batch. A copy takes them up, so
    # that the encoder stays as it is.
    encoder = copy.deepcopy(model.encoder).train(not model.frozen_encoder)
    together = 1 if model.frozen_encoder else SCALE_BATCH_SOUNDS
    heard = spectrograms[:: max(1, len(spectrograms) // SCALE_SOUNDS)]
    rows: list[Tensor] = []
    for start in range(0, len(heard), together):
        batch = heard[start : start + together]
        shortest = min(map(len, batch))
        log_mel = np.stack([spectrogram[:shortest] for spectrogram in batch])
        rows.append(encoder(torch.from_numpy(log_mel)).flatten(0, 1))
    features = torch.cat(rows)
    mean = features.mean(0)
    model.bridge.weight.div_(
        ((features - mean) @ model.bridge.weight.T).square().mean().sqrt().clamp(min=1e-6)
    )
    model.bridge.bias.copy_(-model.bridge.weight @ mean)
