"""Captions a set by a run, and keeps the captions with the fingerprint of what made them."""

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

from auricle.captioning.captioner import load
from auricle.checkpoint.folder import fingerprint
from auricle.data.cache import content_key
from auricle.errors import AudioError, AuricleError
from auricle.reproduction.corpus import ScoredSet
from auricle.reproduction.plan import PlannedRun
from auricle.storage.files import written_whole

CaptionsByFile = dict[str, str]  # by file


def caption_run(run: PlannedRun, scored: ScoredSet, sounds: str) -> CaptionsByFile:
    """Returns a run's captions of a set.

    The captions are kept as `SET.json` in the run's folder. They are made again if the checkpoint
    with its decoding, the sounds or auricle have changed.

    Args:
        run: its captioner is trained.
        scored: the set.
        sounds: the set's fingerprint, from `sounds_fingerprint`.

    Raises:
        AuricleError: a sound cannot be read.
    """
    path = run.folder / f"{scored.name}.json"
    made_by = {
        "checkpoint": fingerprint(run.recipe.captioner_folder),
        "sounds": sounds,
        "auricle": version("auricle"),
    }
    kept = _read(path)
    if kept.get("made_by") == made_by:
        return kept["captions"]
    names = [str(item.file) for item in scored.items]
    texts: dict[str, list[str]] = {}
    for row in load(run.recipe.captioner_folder).caption_files((name, name) for name in names):
        if row.caption is None:
            raise row.error or AuricleError(f"{row.file}: no caption")
        texts.setdefault(row.file, []).append(row.caption.text)
    captions = {file: " ".join(of_file) for file, of_file in texts.items()}
    with written_whole(path) as part:
        content = {"made_by": made_by, "captions": captions}
        part.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return captions


def sounds_fingerprint(scored: ScoredSet) -> str:
    """Returns a digest of the names and contents of a set's sound files.

    Raises:
        AudioError: a file cannot be read.
    """
    content = hashlib.sha256()
    for item in scored.items:
        key = content_key(item.file)
        if isinstance(key, AudioError):
            raise key
        content.update(f"{item.file} {key}\n".encode())
    return content.hexdigest()


def _read(path: Path) -> dict:
    """Returns the content of a file of kept captions; nothing if it is missing or damaged."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
