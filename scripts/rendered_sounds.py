r"""Renders instruments and single speakers, for training without recordings of other people.

    apt-get install fluidsynth fluid-soundfont-gm espeak-ng flite \
        festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts \
        asterisk-core-sounds-fr-wav asterisk-core-sounds-it-wav asterisk-core-sounds-ru-wav
    python scripts/rendered_sounds.py data/rendered

    *.flac          about 1,000 sounds of 1 to 8 s, mono, 32 kHz
    rendered.csv    file, class (of AudioSet), group (one instrument or speaker), source, licence

A run that finds a complete rendered.csv does nothing; any other run starts anew. Each sound depends
on its name alone, so that two runs on the same versions of the programs give the same sounds.

Where the sounds come from, and the licences by the copyright files of the Debian packages:

    fluidsynth with the sound font FluidR3_GM. The package fluid-soundfont-gm says: "I hereby
    release Fluid under the MIT license, as described in COPYING."
    espeak-ng (GPL-3.0-or-later), flite and festival (licences like MIT) speak our own sentences.
    asterisk-core-sounds-fr: prompts that June Wallack recorded, CC BY-SA 3.0.
    asterisk-core-sounds-it: prompts that Carlo Flora recorded, CC BY 3.0.
    asterisk-core-sounds-ru: prompts that Maxim Topal of ivrvoice.ru provided, CC BY 3.0.

With --no-share-alike the prompts under CC BY-SA 3.0 are left out. Tables and sentences are in
rendered_sounds.toml.
"""

import csv
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Annotated

import av
import numpy as np
import typer
from av.audio.stream import AudioStream
from rich.progress import track

from auricle.sound.decode import load_audio
from auricle.storage.files import written_whole
from midi_notes import DRUM_STYLES, STYLES, drum_notes, instrument_notes, kit_notes, midi_file

TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
SOUND_FONT = "/usr/share/sounds/sf2/FluidR3_GM.sf2"
COLUMNS = ("file", "class", "group", "source", "licence")
RATE = 32_000  # Hz
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 8.0
FADE_SECONDS = 0.05
SILENT_PEAK = 0.001
QUIET = 10 ** (-50 / 20)  # of the peak; an end below it is cut off
SOUNDS_PER_PROGRAM, FEWEST_PER_INSTRUMENT = 6, 10
SOUNDS_PER_DRUM, FEWEST_PER_DRUM = 3, 8
SOUNDS_PER_KIT = 6
SOUNDS_PER_ENGLISH_VOICE = 20
SOUNDS_PER_PROMPT_SPEAKER = 60


@dataclass(frozen=True)
class RenderedSound:
    """A sound to render.

    Attributes:
        name: of the file, without its suffix.
        class_name: the AudioSet class.
        group: the same for sounds of one instrument or speaker.
        source: the sound font, the speech program, or the package and speaker of prompts.
        licence: of the source.
        render: returns the samples, (samples,) float32 at `RATE`; gets an empty folder to work in.
    """

    name: str
    class_name: str
    group: str
    source: str
    licence: str
    render: Callable[[Path], np.ndarray]

    def row(self) -> dict[str, str]:
        """The sound's row of rendered.csv."""
        values = (f"{self.name}.flac", self.class_name, self.group, self.source, self.licence)
        return dict(zip(COLUMNS, values, strict=True))


def main(
    folder: Path,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Render only this many sounds, spread over all kinds.")
    ] = None,
    share_alike: Annotated[
        bool,
        typer.Option(
            "--share-alike/--no-share-alike", help="Use prompts whose licence is share-alike."
        ),
    ] = True,
) -> None:
    """Renders the sounds and rendered.csv into the folder."""
    if missing := missing_packages(share_alike):
        typer.echo(f"Programs or sounds are missing: apt-get install {' '.join(missing)}", err=True)
        raise typer.Exit(1)
    sounds = planned_sounds(share_alike)
    if limit is not None and limit < len(sounds):
        sounds = [sounds[number * len(sounds) // limit] for number in range(limit)]
    table = folder / "rendered.csv"
    if is_complete(table, sounds):
        typer.echo(f"{table} is complete: {len(sounds):,} sounds")
        return
    table.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for sound in track(sounds, "rendering"):
        with tempfile.TemporaryDirectory() as work:
            samples = sound.render(Path(work))
        write_flac(folder / f"{sound.name}.flac", fitted(samples, sound.name))
    with written_whole(table) as part, part.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *(sound.row().values() for sound in sounds)])
    typer.echo(f"{table}: {len(sounds):,} sounds")


def missing_packages(share_alike: bool) -> list[str]:
    """The Debian packages whose programs or files are missing."""
    needed = dict(TABLES["packages"])
    for prompts in prompt_tables(share_alike):
        needed[f"{prompts['folder']}/hello-world.wav"] = prompts["package"]
    return [
        package
        for name, package in needed.items()
        if not shutil.which(name) and not Path(name).exists()
    ]


def is_complete(table: Path, sounds: list[RenderedSound]) -> bool:
    """Whether the table lists exactly these sounds, and their files exist."""
    if not table.is_file():
        return False
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return rows == [sound.row() for sound in sounds] and all(
        (table.parent / row["file"]).is_file() for row in rows
    )


def planned_sounds(share_alike: bool) -> list[RenderedSound]:
    """All sounds to render, always the same."""
    return [
        *instrument_sounds(),
        *drum_sounds(),
        *kit_sounds(),
        *espeak_sounds(),
        *flite_sounds(),
        *festival_sounds(),
        *prompt_sounds(share_alike),
    ]


def instrument_sounds() -> Iterator[RenderedSound]:
    """Single notes, scales, melodies and chords of each instrument."""
    for class_name, table in TABLES["instruments"].items():
        programs = table["programs"]
        for number in range(max(FEWEST_PER_INSTRUMENT, SOUNDS_PER_PROGRAM * len(programs))):
            name = sound_name(class_name, number)
            program = programs[number % len(programs)]
            notes = instrument_notes(
                Random(name),
                STYLES[number // len(programs) % len(STYLES)],
                lowest=table["lowest"],
                highest=table["highest"],
                chords=table["chords"],
            )
            midi = midi_file(notes, program=program)
            yield font_sound(name, class_name, f"program_{program:03d}", midi)


def drum_sounds() -> Iterator[RenderedSound]:
    """Single hits and rhythms of each percussion instrument."""
    for class_name, keys in TABLES["drums"].items():
        for number in range(max(FEWEST_PER_DRUM, SOUNDS_PER_DRUM * len(keys))):
            name = sound_name(class_name, number)
            key = keys[number % len(keys)]
            style = DRUM_STYLES[number // len(keys) % len(DRUM_STYLES)]
            midi = midi_file(drum_notes(Random(name), style, key), program=0, percussion=True)
            yield font_sound(name, class_name, f"drum_{key:03d}", midi)


def kit_sounds() -> Iterator[RenderedSound]:
    """Rhythms of whole drum kits."""
    for class_name, programs in TABLES["kits"].items():
        for number in range(SOUNDS_PER_KIT * len(programs)):
            name = sound_name(class_name, number)
            program = programs[number % len(programs)]
            midi = midi_file(kit_notes(Random(name)), program=program, percussion=True)
            yield font_sound(name, class_name, f"kit_{program:03d}", midi)


def sound_name(class_name: str, number: int) -> str:
    """A name for files: lower case, without spaces and punctuation."""
    words = "".join(mark if mark.isalnum() else " " for mark in class_name.lower()).split()
    return f"{'_'.join(words)}_{number:02d}"


def font_sound(name: str, class_name: str, group: str, midi: bytes) -> RenderedSound:
    """A sound that fluidsynth renders from a MIDI file."""
    # Only the samples of the notes are read. Floats keep soft notes free of rounding noise.
    options = "-niq -o synth.dynamic-sample-loading=1 -O float -F sound.wav -r".split()
    command = ["fluidsynth", *options, str(RATE), SOUND_FONT, "notes.mid"]
    render = partial(run_program, command, "notes.mid", midi)
    return RenderedSound(name, class_name, group, "FluidR3_GM", "MIT", render)


def espeak_sounds() -> Iterator[RenderedSound]:
    """Sentences in several languages by the voices of espeak-ng."""
    table = TABLES["espeak-ng"]
    for voice, language in table["voices"].items():
        for variant in table["variants"]:
            name = f"espeak_{voice}{variant}".replace("+", "_")
            rng = Random(name)
            words_per_minute, pitch = rng.randrange(120, 190), rng.randrange(30, 70)
            command = f"espeak-ng -v {voice}{variant} -s {words_per_minute} -p {pitch}".split()
            yield spoken_sound(
                name,
                name,
                "espeak-ng",
                [*command, "-f", "text.txt", "-w", "sound.wav"],
                some_text(rng, language),
            )


def flite_sounds() -> Iterator[RenderedSound]:
    """English sentences by the voices of flite."""
    for voice, speaker in TABLES["flite"]["speakers"].items():
        for number in range(SOUNDS_PER_ENGLISH_VOICE):
            name = f"flite_{voice}_{number:02d}"
            rng = Random(name)
            stretch = f"duration_stretch={rng.uniform(0.85, 1.2):.2f}"
            command = f"flite -voice {voice} --setf {stretch} -f text.txt -o sound.wav".split()
            yield spoken_sound(name, f"speaker_{speaker}", "flite", command, some_text(rng, "en"))


def festival_sounds() -> Iterator[RenderedSound]:
    """English sentences by the voices of festival."""
    for voice, speaker in TABLES["festival"]["speakers"].items():
        for number in range(SOUNDS_PER_ENGLISH_VOICE):
            name = f"festival_{voice}_{number:02d}"
            rng = Random(name)
            stretch = f"(Parameter.set 'Duration_Stretch {rng.uniform(0.85, 1.2):.2f})"
            command = ["text2wave", "-eval", f"(voice_{voice})", "-eval", stretch]
            yield spoken_sound(
                name,
                f"speaker_{speaker}",
                "festival",
                [*command, "-o", "sound.wav", "text.txt"],
                some_text(rng, "en"),
            )


def some_text(rng: Random, language: str) -> str:
    """One or two sentences of our own."""
    return " ".join(rng.sample(TABLES["texts"][language], rng.choice((1, 1, 2))))


def spoken_sound(
    name: str, group: str, source: str, command: list[str], text: str
) -> RenderedSound:
    """A sound that a speech program makes of a text."""
    render = partial(run_program, command, "text.txt", text.encode())
    return RenderedSound(name, "Speech", group, source, TABLES[source]["licence"], render)


def prompt_tables(share_alike: bool) -> list[dict[str, str]]:
    """The folders of recorded prompts that the licence condition allows."""
    return [
        prompts
        for prompts in TABLES["prompts"].values()
        if share_alike or not prompts["share_alike"]
    ]


def prompt_sounds(share_alike: bool) -> Iterator[RenderedSound]:
    """Phrases that are joined from the recorded prompts of each speaker."""
    for prompts in prompt_tables(share_alike):
        folder = Path(prompts["folder"])
        source = f"{prompts['package'].removesuffix('-wav')} ({prompts['speaker']})"
        for number in range(SOUNDS_PER_PROMPT_SPEAKER):
            name = f"prompts_{folder.name}_{number:02d}".lower()
            yield RenderedSound(
                name,
                "Speech",
                f"speaker_{folder.name}",
                source,
                prompts["licence"],
                partial(join_prompts, folder, name),
            )


def run_program(command: list[str], input_name: str, content: bytes, work: Path) -> np.ndarray:
    """Runs a program that turns its input file into sound.wav; returns (samples,) at `RATE`.

    Raises:
        subprocess.CalledProcessError: the program failed.
    """
    (work / input_name).write_bytes(content)
    subprocess.run(command, cwd=work, check=True, stdout=subprocess.DEVNULL)
    return load_audio(work / "sound.wav", RATE)


def join_prompts(folder: Path, name: str, work: Path) -> np.ndarray:  # noqa: ARG001
    """Joins random prompts of a folder to 2 to 7 s of speech; returns (samples,) at `RATE`."""
    rng = Random(name)
    prompts = sorted(folder.glob("*.wav"))
    prompts = [path for path in prompts if path.stem not in TABLES["not_speech"]["names"]]
    rng.shuffle(prompts)
    enough_seconds = rng.uniform(2, 7)
    joined = np.zeros(0, np.float32)
    for prompt in prompts:
        pause = np.zeros(round(rng.uniform(0.05, 0.4) * RATE), np.float32)
        longer = np.concatenate([joined, load_audio(prompt, RATE), pause])
        if len(longer) <= LONGEST_SECONDS * RATE:
            joined = longer
        if len(joined) >= enough_seconds * RATE:
            break
    return joined


def fitted(samples: np.ndarray, name: str) -> np.ndarray:
    """The sound at a random level, without its quiet end, padded or cut to the allowed length.

    Args:
        samples: (samples,) float32.
        name: of the sound, which decides the level.

    Raises:
        ValueError: the sound is silent.
    """
    samples = samples[: round(LONGEST_SECONDS * RATE)]
    peak = float(np.abs(samples).max(initial=0))
    if peak < SILENT_PEAK:
        raise ValueError(f"{name} is silent: the sound font or the voice lacks it")
    samples = samples[: np.flatnonzero(np.abs(samples) > QUIET * peak)[-1] + 1]
    samples = samples * np.float32(Random(name).uniform(0.2, 0.9) / peak)
    fade = min(round(FADE_SECONDS * RATE), len(samples))
    samples[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    return np.pad(samples, (0, max(0, round(SHORTEST_SECONDS * RATE) - len(samples))))


def write_flac(path: Path, samples: np.ndarray) -> None:
    """Writes (samples,) at `RATE` with full scale 1 as 16-bit FLAC."""
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=RATE, layout="mono", format="s16")
        assert isinstance(stream, AudioStream)
        whole = (samples * 32767).round().astype(np.int16)
        frame = av.AudioFrame.from_ndarray(whole[np.newaxis], "s16", "mono")
        frame.sample_rate = RATE
        container.mux([*stream.encode(frame), *stream.encode()])


if __name__ == "__main__":
    typer.run(main)
