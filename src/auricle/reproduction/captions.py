"""Captions a set by a run, and keeps the captions with the fingerprint of what made them."""

import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from auricle.captioning.captioner import load
from auricle.checkpoint.folder import fingerprint
from auricle.data.cache import content_key
from auricle.errors import AudioError, AuricleError
from auricle.reproduction.corpus import ScoredSet
from auricle.reproduction.plan import PlannedRun
from auricle.storage.files import written_whole

Captions = dict[str, str]  # by file


def caption_run(run: PlannedRun, scored: ScoredSet) -> Captions:
    """Returns a run's captions of a set.

    The captions are kept as `SET.json` in the run's folder. They are made again if the checkpoint
    with its decoding, the sounds or auricle have changed.

    Raises:
        AuricleError: a sound cannot be read.
    """
    path = run.folder / f"{scored.name}.json"
    names = [str(item.file) for item in scored.items]
    made_by = _makers(run.recipe.captioner_folder, names)
    kept = _read(path)
    if kept.get("made_by") == made_by:
        return kept["captions"]
    texts: dict[str, list[str]] = {}
    for row in load(run.recipe.captioner_folder).caption_files((name, name) for name in names):
        if row.caption is None:
            raise row.error or AuricleError(f"{row.file}: no caption")
        texts.setdefault(row.file, []).append(row.caption.text)
    captions = {file: " ".join(its_texts) for file, its_texts in texts.items()}
    with written_whole(path) as part:
        content = {"made_by": made_by, "captions": captions}
        part.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return captions


def _makers(checkpoint: Path, sounds: Sequence[str]) -> dict[str, str]:
    """Returns the fingerprints of all that captions depend on."""
    content = hashlib.sha256()
    for name in sounds:
        key = content_key(Path(name))
        if isinstance(key, AudioError):
            raise key
        content.update(f"{name} {key}\n".encode())
    return {
        "checkpoint": fingerprint(checkpoint),
        "sounds": content.hexdigest(),
        "auricle": version("auricle"),
    }


def _read(path: Path) -> dict:
    """Returns the content of a file of kept captions; nothing if it is missing or damaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
