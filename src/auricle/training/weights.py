"""Weights on disk: published ones, checked and never unpickled into code, and our own as safetensors."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from auricle.errors import AuricleError

CHECKSUMS = {
    "Cnn10_mAP=0.380.pth": ("md5", "bfb1f1f9968938fa8ef4012b8471f5f6"),
    "mn04_as_mAP_432.pt": ("sha256", "899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c"),
}
# PANNs' checkpoints carry the spectrogram's fixed convolutions; ours is computed outside of the network.
FRONT_END_KEYS = ("spectrogram_extractor.", "logmel_extractor.")


def load_published(path: Path) -> dict[str, Tensor]:
    """The state dict of a published checkpoint (.pth, .pt or .safetensors), without front-end keys.

    Raises:
        AuricleError: the file is missing, damaged, or its checksum is not the published one.
    """
    if not path.is_file():
        raise AuricleError(f"{path}: no such weights")
    if path.name in CHECKSUMS:
        algorithm, wanted = CHECKSUMS[path.name]
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != wanted:
            raise AuricleError(f"{path}: {algorithm} {found}, and {wanted} is published: fetch it again")
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
            state = state.get("model", state)
        if not all(isinstance(tensor, Tensor) for tensor in state.values()):
            raise TypeError("it holds more than tensors")
    except Exception as error:  # torch.load raises whatever its reader met
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise AuricleError(f"{path}: not a checkpoint of weights: {reason}") from None
    return {name: tensor for name, tensor in state.items() if not name.startswith(FRONT_END_KEYS)}


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Loads every tensor, in the module's own precision.

    Raises:
        AuricleError: a tensor is missing, left over, or of another shape.
    """
    own = module.state_dict()
    problems = {
        "missing": [name for name in own if name not in state],
        "left over": [name for name in state if name not in own],
        "of another shape": [name for name in own if name in state and own[name].shape != state[name].shape],
    }
    if any(problems.values()):
        said = [f"{len(names)} {what} ({names[0]}, ...)" for what, names in problems.items() if names]
        raise AuricleError(f"{source} does not fit {type(module).__name__}: tensors {', '.join(said)}")
    module.load_state_dict(state, strict=True)


def halve(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with its matrices in half precision, as finished checkpoints keep them; the rest as it is."""
    return {
        name: (tensor.half() if tensor.is_floating_point() and tensor.dim() > 1 else tensor).detach().cpu().contiguous()
        for name, tensor in state.items()
    }


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write a file that is to be there whole or not at all: beside it, and renamed when that went well."""
    part = path.with_suffix(".part")
    yield part
    part.replace(path)


def save_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file, whole or not at all."""
    with written_whole(path) as part:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, part)


def load_weights(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file.

    Raises:
        AuricleError: it is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise AuricleError(f"{path}: cannot be read as weights: {error}") from None
