r"""Makes a film of known sounds and synthetic speech, with subtitles and a picture.

    python scripts/subtitled_film.py make data/heldout/sounds.csv \
        ../shared/reference/label_words.csv ../shared/corpus film/
    auricle subtitle film/film.mkv --merge film/film.en.srt -o film/film.sdh.srt --no-speech
    python scripts/subtitled_film.py draw film/ docs/subtitles.png

The speech is made by espeak-ng (on Debian and Ubuntu `apt install espeak-ng`), the picture by
matplotlib (extra `explain`).
"""

import json
import random
import subprocess
import tempfile
import textwrap
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer

from auricle.data.manifest import Item
from auricle.sound.decode import load_audio
from auricle.subtitles.cues import Cue
from auricle.subtitles.files import read_subtitles, write_cues
from embedded_scores import LABELLED, SEED, read_label_words, read_labelled
from sequences import Samples, holds_silence, level

RATE = 44_100
SOUNDS = 30
ROWS = 4  # of the picture
SPOKEN = {  # after which sound: what
    1: "Did you hear that?",
    3: "It came from the other side of the house.",
    5: "Stay here. I will have a look.",
    8: "Everything is all right.",
    11: "Then let us go home before it gets dark.",
    14: "I would rather wait for the others.",
    18: "They are late, as always.",
    23: "There they are!",
    26: "Let us go, then.",
}
SPEECH_LEVEL, AMBIENCE_LEVEL = -22.0, -52.0  # dBFS

app = typer.Typer(
    help="A film to subtitle.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


def spoken(text: str) -> Samples:
    """A sentence, said."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        subprocess.run(["espeak-ng", "-v", "en", "-s", "150", "-w", file.name, text], check=True)
        samples = load_audio(file.name, RATE)
    return samples * np.float32(10 ** ((SPEECH_LEVEL - level(samples)) / 20))


@app.command()
def make(
    manifest: Annotated[Path, typer.Argument(help="The sounds held out.")],
    label_words: Annotated[
        Path, typer.Argument(help="CSV of labels; the film has sounds of them.")
    ],
    corpus: Annotated[Path, typer.Argument(help="The folder of the corpus, for an ambience.")],
    folder: Annotated[Path, typer.Argument(help="Where the film goes.")],
) -> None:
    """Makes film.mkv, film.en.srt, and truth.json, which lists the sounds and their times."""
    rng = random.Random(SEED)
    kept: list[tuple[Item, Samples]] = []
    for item in rng.sample(
        items := read_labelled(manifest, LABELLED, read_label_words(label_words)), len(items)
    ):
        samples = load_audio(item.file, RATE)
        if item.label not in {other.label for other, _ in kept} and not holds_silence(
            samples, RATE
        ):
            kept.append((item, samples))
        if len(kept) == SOUNDS:
            break
    pieces, truth, lines, now = [], [], [], 0.0

    def append(samples: Samples) -> tuple[float, float]:
        nonlocal now
        pieces.append(samples)
        start, now = now, now + len(samples) / RATE
        return start, now

    for number, (item, samples) in enumerate(kept):
        truth.append((*append(samples), item.label))
        if number in SPOKEN:
            append(np.zeros(RATE // 4, np.float32))
            lines.append(Cue(*append(spoken(SPOKEN[number])), SPOKEN[number]))
            append(np.zeros(RATE // 4, np.float32))
    sound = np.concatenate(pieces)
    ambience = load_audio(corpus / "audio" / "blanket" / "wind.ogg", RATE)
    ambience = np.tile(ambience, -(-len(sound) // len(ambience)))[: len(sound)]
    sound += ambience * np.float32(10 ** ((AMBIENCE_LEVEL - level(ambience)) / 20))
    folder.mkdir(parents=True, exist_ok=True)
    write_film(folder / "film.mkv", sound)
    (folder / "film.en.srt").write_bytes(write_cues(lines, "srt"))
    (folder / "truth.json").write_text(json.dumps(truth, indent=1))
    typer.echo(f"{folder}: {now:.0f} s, {len(truth)} sounds, {len(lines)} lines")


def write_film(path: Path, sound: Samples) -> None:
    """Grey pictures and the sound."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=5)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        for _ in range(5 * len(sound) // RATE):
            container.mux(
                pictures.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8)))
            )
        container.mux(pictures.encode())
        frame = av.AudioFrame.from_ndarray(sound[np.newaxis], "fltp", "mono")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode()])


@app.command()
def draw(
    folder: Annotated[Path, typer.Argument(help="What `make` and `auricle subtitle` made.")],
    picture: Annotated[Path, typer.Argument(help="The timeline to draw.")],
) -> None:
    """Draws the sound, its true events, the spoken lines, and the cues between them."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    sound = load_audio(folder / "film.mkv", 8_000)
    truth = json.loads((folder / "truth.json").read_text())
    lines, merged = (read_subtitles(folder / name) for name in ("film.en.srt", "film.sdh.srt"))
    added_cues = [cue for cue in merged.cues if (cue.start, cue.end) not in lines.taken]
    texts = {
        cue: merged.text[cue.first : cue.behind].strip().split("\n", 2)[2].replace("\n", " ")
        for cue in merged.cues
    }
    seconds = len(sound) / 8_000
    figure, axes = pyplot.subplots(ROWS, 1, figsize=(12, 11), layout="constrained")
    for row, axis in enumerate(axes):
        axis.plot(
            np.arange(len(sound)) / 8_000,
            0.4 * sound / np.abs(sound).max() + 3.5,
            color="0.6",
            linewidth=0.3,
        )
        bars = [(2, start, end, name, "#cfe8cf") for start, end, name in truth]
        bars += [
            (1, cue.start, cue.end, texts[cue], "#cfdcf2")
            for cue in merged.cues
            if cue not in added_cues
        ]
        bars += [(0, cue.start, cue.end, texts[cue], "#f8dcb0") for cue in added_cues]
        for place, start, end, text, colour in bars:
            axis.broken_barh(
                [(start, end - start)],
                (place + 0.05, 0.9),
                facecolor=colour,
                edgecolor="0.4",
                linewidth=0.5,
            )
            label = textwrap.fill(
                text.replace("_", " "),
                max(8, round(4.4 * (end - start))),
                max_lines=4,
                placeholder=" …",
                break_long_words=False,
            )
            middle = (start + end) / 2, place + 0.5
            axis.text(*middle, label, ha="center", va="center", fontsize=7, clip_on=True)
        axis.set(xlim=(row * seconds / ROWS, (row + 1) * seconds / ROWS), ylim=(0, 4))
        axis.set_yticks([0.5, 1.5, 2.5, 3.5], ["ours", "spoken", "true", "sound"])
    axes[-1].set_xlabel("seconds")
    figure.savefig(picture, dpi=130)


if __name__ == "__main__":
    app()
