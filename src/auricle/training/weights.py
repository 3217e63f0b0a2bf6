"""Weights on disk: published ones, and our own as safetensors.

Published weights are checked, and unpickling them cannot run code.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from auricle.checkpoint.fingerprints import Fingerprints
from auricle.data.prepared import Monitor, silent
from auricle.errors import AuricleError
from auricle.storage.download import Remote
from auricle.storage.files import written_whole

_EFFICIENTAT = "https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1"
_BART = "https://huggingface.co/facebook/bart-base/resolve/aadd2ab0ae0c8268c7c9693540e9904811f36177"
# The names of AudioSet's classes, as EfficientAT publishes them.
_CLASSES = Remote(
    "class_labels_indices.csv",
    "https://raw.githubusercontent.com/fschmid56/EfficientAT/a425fdce92572e602a1d5634799bd9f1f2efa806/metadata/class_labels_indices.csv",
    "sha256:cdd1049833c4b86127c2773ac0d14a2754b6a6d0d1798002ed5c66e699708429",
)


@dataclass(frozen=True)
class Published:
    """Published weights, or a published tokenizer."""

    files: tuple[Remote, ...]
    weights: bool  # whether the first file is a pickled state dict, which must be converted
    licence: str
    what: str


PUBLISHED = {
    "cnn10": Published(
        (
            Remote(
                "Cnn10_mAP=0.380.pth",
                "https://zenodo.org/record/3987831/files/Cnn10_mAP%3D0.380.pth?download=1",
                "md5:bfb1f1f9968938fa8ef4012b8471f5f6",
            ),
        ),
        weights=True,
        licence="CC BY 4.0 (code MIT)",
        what="PANNs' CNN10, the paper's encoder",
    ),
    "vggish": Published(
        (
            Remote(
                "vggish-10086976.pth",
                "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
                "sha256:10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
            ),
        ),
        weights=True,
        licence="Apache 2.0",
        what="VGGish, the DCASE baseline's features",
    ),
    "mn04": Published(
        (
            Remote(
                "mn04_as_mAP_432.pt",
                f"{_EFFICIENTAT}/mn04_as_mAP_432.pt",
                "sha256:899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c",
            ),
            _CLASSES,
        ),
        weights=True,
        licence="MIT",
        what="EfficientAT's MobileNetV3 of width 0.4, and AudioSet's classes",
    ),
    "mn10": Published(
        (
            Remote(
                "mn10_as_mAP_471.pt",
                f"{_EFFICIENTAT}/mn10_as_mAP_471.pt",
                "sha256:0bd7dc2443af498c289a2e739f02ebb515d6aa3fd3ab9db539c86123ae368a4e",
                19_708_753,
            ),
            _CLASSES,
        ),
        weights=True,
        licence="MIT",
        what="EfficientAT's MobileNetV3 of width 1, and AudioSet's classes",
    ),
    "bart-tokenizer": Published(
        (
            Remote(
                "vocab.json",
                f"{_BART}/vocab.json",
                "sha256:9e7f63c2d15d666b52e21d250d2e513b87c9b713cfa6987a82ed89e5e6e50655",
            ),
            Remote(
                "merges.txt",
                f"{_BART}/merges.txt",
                "sha256:1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
            ),
        ),
        weights=False,
        licence="Apache 2.0",
        what="the tokenizer of BART-base, for the DCASE baseline",
    ),
}
_CHECKSUMS = {
    file.name: file.checksum for published in PUBLISHED.values() for file in published.files
}
# PANNs' checkpoints contain the fixed convolutions of the spectrogram. Ours is computed outside the
# network.
FRONT_END_KEYS = ("spectrogram_extractor.", "logmel_extractor.")


def fetch_published(
    name: str,
    folder: Path,
    *,
    published: Published | None = None,
    mirror: str | None = None,
    monitor: Monitor = silent,
) -> list[Path]:
    """Fetches published weights, and keeps their tensors as `name`.safetensors.

    A tokenizer's files stay as they are, in a folder `name`.

    Args:
        name: a key of `PUBLISHED`.
        folder: the folder to write to.
        published: replaces the entry of `PUBLISHED`.
        mirror: an address with the same files.
        monitor: shows the progress.

    Returns:
        The files, weights first.

    Raises:
        AuricleError: a file cannot be fetched, differs from the published one, or holds more than
            weights.
    """
    published = published or PUBLISHED[name]
    plain, kept = published.files, []
    if published.weights:
        pickled, *plain = published.files
        weights = folder / f"{name}.safetensors"
        if not weights.is_file():
            with monitor(f"{name}: {pickled.name}") as progress:
                fetched = pickled.fetch(folder, mirror=mirror, progress=progress)
            source = {
                "source": pickled.url,
                "checksum": pickled.checksum,
                "licence": published.licence,
            }
            save_weights(weights, load_published(fetched), source)
            fetched.unlink()
        kept.append(weights)
    else:
        folder = folder / name
    for file in plain:
        with monitor(f"{name}: {file.name}") as progress:
            kept.append(file.fetch(folder, mirror=mirror, progress=progress))
    return kept


def load_published(path: Path) -> dict[str, Tensor]:
    """Reads a published checkpoint (.pth, .pt or .safetensors), without its front end.

    Raises:
        AuricleError: the file is missing, damaged, or its checksum is not the published one.
    """
    if not path.is_file():
        raise AuricleError(f"{path}: no such weights")
    if path.name in _CHECKSUMS:
        algorithm, _, expected = _CHECKSUMS[path.name].partition(":")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, algorithm).hexdigest()
        if found != expected:
            raise AuricleError(
                f"{path}: {algorithm} is {found}, but {expected} is published: fetch it again"
            )
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
            state = state.get("model", state)
        if not all(isinstance(tensor, Tensor) for tensor in state.values()):
            raise TypeError("it holds more than tensors")
    except Exception as error:  # torch.load raises errors of any type
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise AuricleError(f"{path}: not a checkpoint of weights: {reason}") from None
    return {name: tensor for name, tensor in state.items() if not name.startswith(FRONT_END_KEYS)}


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Loads every tensor, in the module's precision.

    Raises:
        AuricleError: a tensor is missing, left over, or of another shape.
    """
    expected = module.state_dict()
    problems = {
        "missing": [name for name in expected if name not in state],
        "left over": [name for name in state if name not in expected],
        "of another shape": [
            name for name in expected if name in state and expected[name].shape != state[name].shape
        ],
    }
    if any(problems.values()):
        said = [
            f"{len(names)} {what} ({names[0]}, ...)" for what, names in problems.items() if names
        ]
        raise AuricleError(
            f"{source} does not fit {type(module).__name__}: tensors {', '.join(said)}"
        )
    module.load_state_dict(state, strict=True)


def halve(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns a state dict with matrices in half precision, as in finished checkpoints."""
    return {
        name: (tensor.half() if tensor.is_floating_point() and tensor.dim() > 1 else tensor)
        .detach()
        .cpu()
        .contiguous()
        for name, tensor in state.items()
    }


def save_weights(
    path: Path, state: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Writes a safetensors file, whole or not at all.

    Raises:
        AuricleError: the disk is full, or the folder cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    try:
        with written_whole(path) as part:
            save_file(tensors, part, metadata)
    except (OSError, SafetensorError) as error:
        raise AuricleError(f"{path}: cannot be written: {error}") from None


def load_weights(path: Path) -> dict[str, Tensor]:
    """Reads a safetensors file.

    Raises:
        AuricleError: the file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise AuricleError(f"{path}: cannot be read as weights: {error}") from None


def read_fingerprints(path: Path) -> Fingerprints:
    """Reads the fingerprints in a file of our own weights; they are empty in files of auricle 0.1.

    Raises:
        AuricleError: the file is missing or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
    except (OSError, SafetensorError) as error:
        raise AuricleError(f"{path}: cannot be read as weights: {error}") from None
    return Fingerprints.of_metadata(metadata, str(path))


def check_fingerprints(path: Path, expected: Fingerprints, advice: str) -> None:
    """Refuses weights that were trained with something else than expected.

    Args:
        path: a file of our own weights.
        expected: the fingerprints that matter; the others are empty.
        advice: ends the message.

    Raises:
        AuricleError: the file is missing or damaged, or a fingerprint differs.
    """
    if differing := read_fingerprints(path).differing(expected):
        raise AuricleError(
            f"{path} was trained with something else than is given now "
            f"({', '.join(differing)} differ): {advice}"
        )
