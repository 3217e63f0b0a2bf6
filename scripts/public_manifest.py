r"""Writes the training data for a model like the embedded one, from public data alone.

    auricle data clotho data/clotho --split development --split validation --split evaluation
    auricle data esc50 data/esc50
    auricle data urbansound8k data/urbansound8k
    auricle data audiocaps data/audiocaps
    auricle data weights mn04
    python scripts/rendered_sounds.py data/rendered
    python scripts/public_manifest.py data data/public
    auricle data audit data/public/sounds.csv --test validation --test evaluation \
        --write data/public/clean.csv
    auricle pretrain configs/public.toml && auricle train configs/public.toml

    sounds.csv     the manifest; its splits:
                   train: Clotho's development, ESC-50, UrbanSound8K and made sounds, and
                       AudioCaps' train if its clips are there
                   validation: Clotho's, sounds to select by
                   evaluation: Clotho's, sounds to score on
    captions.csv   captions to learn words from, and their sources: Clotho's development,
                   AudioCaps' train, and our sentences for the classes
    made/          sounds made from formulas

The data sets without captions get some of Clotho's development and AudioCaps' train that name their
label, chosen as for the embedded model. A recording that Clotho's validation or evaluation holds is
not learnt from, whichever data set it is in.
"""

from dataclasses import replace
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import track

from auricle.captioning.captioner import load
from auricle.data.audiocaps import read_clips
from auricle.data.leakage import find_leaks
from auricle.data.manifest import Item, read_manifest, write_manifest
from auricle.training.tags import read_class_names
from corpus_manifest import own_captions, read_csv, write_csv
from fitting_captions import Row, fitting_captions, key
from made_sounds import made_sounds, write_sound

LABELS = Path(__file__).with_name("public_labels.csv")
OWN_SENTENCES = Path(__file__).with_name("label_sentences.csv")
HELD_OUT = ("validation", "evaluation")
HEARD = 5  # AudioSet tags of a sound that its captions must fit


def main(
    data: Path, folder: Path, classes: Path = Path("weights/class_labels_indices.csv")
) -> None:
    """Writes sounds.csv, captions.csv and made/ into the folder, and prints what they hold."""
    clotho = [
        replace(item, split="train") if item.split == "development" else item
        for item in read_manifest(data / "clotho/manifest.csv", captioned=False)
        if item.split != "test"
    ]
    clips = [
        item for item in read_if_there(data / "audiocaps/manifest.csv") if item.split == "train"
    ]
    labelled = [
        item
        for name in ("esc50", "urbansound8k")
        for item in read_if_there(data / name / "manifest.csv")
    ]
    secret = {key(text) for item in clotho if item.split in HELD_OUT for text in item.captions}

    sources = {key(text): (text, "clotho") for item in clotho for text in item.captions}
    texts = [text for item in clips for text in item.captions]
    if (data / "audiocaps/train.csv").is_file():
        texts += [
            text for clip in read_clips(data / "audiocaps/train.csv") for text in clip.captions
        ]
    sources |= {key(text): (text, "audiocaps") for text in texts}
    pool = sorted(text for said, (text, _) in sources.items() if said not in secret)
    items = [*clotho, *clips, *described(labelled, pool, read_class_names(classes))]

    leaking = {leak.train.file for leak in find_leaks(items, HELD_OUT, {})}
    items = [item for item in items if item.file not in leaking]
    secret |= {key(text) for item in clotho if item.file in leaking for text in item.captions}
    (folder / "made").mkdir(parents=True, exist_ok=True)
    for sound in made_sounds():
        # What the embedded model is selected by, too: here people's own captions are there to
        # select by.
        items.append(
            Item(
                write_sound(sound, folder / "made"),
                "train",
                sound.captions,
                sound.label,
                sound.name,
            )
        )
    write_manifest(folder / "sounds.csv", items)
    captions = sorted(pair for said, pair in sources.items() if said not in secret)
    captions += own_captions()
    write_csv(
        folder / "captions.csv", [{"caption": text, "source": source} for text, source in captions]
    )
    console = Console()
    for split in ("train", *HELD_OUT):
        sounds = [item for item in items if item.split == split]
        console.print(
            f"{split}: {len(sounds):,} sounds, {sum(len(item.captions) for item in sounds):,} "
            f"captions"
        )
    console.print(
        f"{len(leaking):,} sounds are left out: their recordings are in {' or '.join(HELD_OUT)}"
    )
    console.print(f"{len(captions):,} captions without sound")


def read_if_there(manifest: Path) -> list[Item]:
    """A manifest's items; none where the data set was not fetched."""
    if manifest.is_file():
        return read_manifest(manifest, captioned=False)
    Console(stderr=True).print(f"without {manifest}: it is not there")
    return []


def described(items: list[Item], captions: list[str], class_names: list[str]) -> list[Item]:
    """Sounds with a label only, as sounds to learn from with captions that fit."""
    if not items:
        return []
    labels = {row["label"]: row for row in read_csv(LABELS)}
    tags: dict[str, str] = {}
    rows = load().caption_files((str(item.file), item.file) for item in items)
    for row in track(rows, "Listening", len(items), console=Console(stderr=True), transient=True):
        if row.caption is None:
            Console(stderr=True).print(f"left out: {row.error}", markup=False)
        else:
            # The captioner names further classes, which AudioSet has not.
            heard = [tag for tag in row.caption.tags if tag.name in class_names][:HEARD]
            tags.setdefault(
                row.file, "; ".join(f"{tag.name} {tag.probability:.2f}" for tag in heard)
            )
    expected: list[Row] = [
        {
            "file": str(item.file),
            "split": "train",
            "label": item.label,
            "label_caption": labels[item.label]["caption"],
            "mn04_top5": tags[str(item.file)],
        }
        for item in items
        if tags.get(str(item.file))
    ]
    names = {label: set(row["words"].split()) for label, row in labels.items()}
    chosen = fitting_captions(expected, captions, names, read_csv(OWN_SENTENCES), class_names)
    return [
        replace(item, split="train", captions=tuple(chosen[str(item.file)]))
        for item in items
        if str(item.file) in chosen
    ]


if __name__ == "__main__":
    typer.run(main)
