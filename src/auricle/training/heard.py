"""The tags that an encoder hears in sounds, computed once on the accelerator and kept."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from auricle.data.progress import Report
from auricle.models.cnn10 import AUDIOSET_CLASSES
from auricle.models.encoder import Tagger, frame_mask
from auricle.storage.arrays import ArrayStore
from auricle.storage.files import cache_folder

SOUNDS_PER_BATCH = 16
BATCHES_PER_COMMIT = 16  # batches whose tags are stored together; a stop loses at most these


def hear_tags(
    encoder: Tagger, spectrograms: Sequence[np.ndarray], accelerator: Accelerator, report: Report
) -> np.ndarray:
    """Returns the probabilities of the tags of sounds: (sounds, 527) float32.

    The user's cache keeps them by the encoder's weights and the spectrogram. The processes share
    the missing ones.

    Args:
        encoder: an encoder on the CPU. It goes to the device and comes back.
        spectrograms: (frames, mels) each.
        accelerator: knows the device and the processes.
        report: takes the progress.
    """
    store = ArrayStore(cache_folder("tags") / _digest(encoder), np.float32, AUDIOSET_CLASSES)
    keys = [hashlib.blake2b(np.ascontiguousarray(s).data).hexdigest()[:32] for s in spectrograms]
    missing = store.missing(keys)
    new = {key: number for number, key in enumerate(keys) if key in missing}
    accelerator.wait_for_everyone()  # or a process would find what another has just added
    rank, processes = accelerator.process_index, accelerator.num_processes
    assigned = sorted(new.values(), key=lambda number: len(spectrograms[number]))[rank::processes]
    batches = list(_of_equal_length(assigned, spectrograms))
    encoder.eval().to(accelerator.device)
    pending: dict[str, np.ndarray] = {}
    for count, batch in enumerate(batches, start=1):
        report("Hearing tags", count, len(batches))
        heard = _hear(encoder, np.stack([spectrograms[number] for number in batch]), accelerator)
        pending |= {keys[number]: tags for number, tags in zip(batch, heard, strict=True)}
        if count % BATCHES_PER_COMMIT == 0 or count == len(batches):
            store.add(pending)
            pending = {}
    encoder.cpu()
    accelerator.wait_for_everyone()
    return np.concatenate(store.load(keys))


def _of_equal_length(
    numbers: Sequence[int], spectrograms: Sequence[np.ndarray]
) -> Iterator[list[int]]:
    """Yields batches of sounds of equal length, so that nothing is padded."""
    for _, group in groupby(numbers, key=lambda number: len(spectrograms[number])):
        equal = list(group)
        for start in range(0, len(equal), SOUNDS_PER_BATCH):
            yield equal[start : start + SOUNDS_PER_BATCH]


@torch.inference_mode()
def _hear(encoder: Tagger, log_mel: np.ndarray, accelerator: Accelerator) -> np.ndarray:
    """(batch, frames, mels) -> (batch, 527) probabilities."""
    features = encoder(torch.from_numpy(log_mel).to(accelerator.device))
    frames = torch.full((len(log_mel),), features.shape[1], device=accelerator.device)
    tags = encoder.tags(features, frame_mask(frames, features.shape[1]))
    return tags.sigmoid().float().cpu().numpy()


def _digest(network: nn.Module) -> str:
    """Returns a digest of a network's architecture and weights."""
    whole = hashlib.blake2b(repr(network).encode())
    for name, tensor in network.state_dict().items():
        whole.update(name.encode())
        whole.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return whole.hexdigest()[:32]
