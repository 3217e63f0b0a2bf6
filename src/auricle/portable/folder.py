"""Writes a checkpoint as a folder of open formats: ONNX, JSON and raw arrays."""

import shutil
from pathlib import Path

import numpy as np

from auricle.captioning.captioner import Captioner
from auricle.checkpoint.folder import EMBEDDED, load_checkpoint
from auricle.errors import AuricleError
from auricle.planning.language import Language
from auricle.portable.arrays import write_array, write_json
from auricle.portable.front_end_graph import front_end_graph
from auricle.portable.specification import NETWORKS, describe_classes, specify
from auricle.portable.vectors import write_vectors
from auricle.storage.files import folder_written_whole

# Names of the networks in a checkpoint folder, by their names in a portable folder.
CHECKPOINT_NETWORKS = {
    "encoder.onnx": "encoder.onnx",
    "plan.onnx": "plan.onnx",
    "step.onnx": "decoder.onnx",
    "text.onnx": "text.onnx",
}
# The card and the sources of the weights. Their licence asks to keep them.
NOTICES = ("README.md", "ATTRIBUTION.csv")


def export_portable(checkpoint: Path, folder: Path) -> Path:
    """Writes a portable folder, which appears whole, and returns it.

    Args:
        checkpoint: a checkpoint folder with ONNX files, or `embedded`.
        folder: must be missing or empty.

    Raises:
        AuricleError: the folder is not empty, the checkpoint is none whose decoder words a plan, or
            the package `onnx` is missing.
    """
    loaded = load_checkpoint(EMBEDDED if checkpoint == Path("embedded") else checkpoint)
    if not loaded.config.decoder.plan or not loaded.config.space or loaded.config.padded_frames:
        raise AuricleError(
            f"{checkpoint} does not word events: only captioners like the embedded one "
            "(decoder.plan) have a portable form"
        )
    captioner = Captioner(loaded)
    graph = front_end_graph(captioner.front_end)
    planner = captioner.planner
    assert planner is not None
    with folder_written_whole(folder) as part:
        (part / NETWORKS["front_end"]).write_bytes(graph.SerializeToString())
        for name, source in CHECKPOINT_NETWORKS.items():
            shutil.copyfile(loaded.folder / source, part / name)
        for name in NOTICES:
            if (loaded.folder / name).exists():
                shutil.copyfile(loaded.folder / name, part / name)
        arrays = _write_language(planner.language, part)
        write_json(part / "model.json", {**specify(captioner), "arrays": arrays}, indent=1)
        write_json(part / "vocabulary.json", list(loaded.vocabulary.words))
        by_people = planner.language.written_by_people
        write_json(part / "classes.json", describe_classes(planner.classes, by_people))
        write_vectors(captioner, planner, part)
    return folder


def _write_language(language: Language, folder: Path) -> dict[str, object]:
    """Writes the words and sequences of words that a search may use; returns their descriptions."""
    followers = language.followers
    return {
        "class_words": write_array(
            folder, "class_words.u8", np.packbits(language.class_words, axis=1)
        ),
        "starts": write_array(folder, "starts.i32", followers.starts),
        "followers": write_array(folder, "followers.u16", followers.followers),
        "pair_starts": write_array(folder, "pair_starts.i32", followers.pair_starts),
        "pair_followers": write_array(folder, "pair_followers.u16", followers.pair_followers),
    }
