"""Rendered instruments and speech: notes in range, the same every time, every sound described."""

import csv
import importlib
import re
import sys
import tomllib
from pathlib import Path
from random import Random
from types import ModuleType

import numpy as np
import pytest
import typer

from auricle.sound.decode import load_audio

SCRIPTS = Path(__file__).parents[2] / "scripts"
COLUMNS = ["file", "class", "group", "source", "licence"]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return imported(monkeypatch, "rendered_sounds")


@pytest.fixture
def midi(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return imported(monkeypatch, "midi_notes")


def imported(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


def read_rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def midi_events(data: bytes) -> list[tuple[int, bytes]]:
    """The moments in ms and the channel events of a MIDI file of one track."""
    assert data[:14] == b"MThd\0\0\0\6\0\0\0\1\3\xe8"
    assert data[14:18] == b"MTrk"
    assert int.from_bytes(data[18:22], "big") == len(data) - 22
    events, at, now_ms = [], 22, 0
    while at < len(data):
        delta = data[at] & 0x7F
        while data[at] & 0x80:
            at += 1
            delta = delta << 7 | data[at] & 0x7F
        now_ms += delta
        kind = data[at + 1]
        size = 3 + data[at + 3] if kind == 0xFF else 2 if kind >> 4 == 0xC else 3
        if kind != 0xFF:
            events.append((now_ms, data[at + 1 : at + 1 + size]))
        at += 1 + size
    assert data.endswith(b"\0\xff\x2f\0")
    return events


def test_an_instrument_plays_keys_in_its_range(script: ModuleType, midi: ModuleType):
    for name, table in script.TABLES["instruments"].items():
        ranges = {"lowest": table["lowest"], "highest": table["highest"]}
        for style in midi.STYLES:
            for seed in range(20):
                notes = midi.instrument_notes(Random(seed), style, chords=table["chords"], **ranges)
                keys = [note.key for note in notes]
                assert table["lowest"] <= min(keys) <= max(keys) <= table["highest"], name
                assert all(1 <= note.velocity <= 127 for note in notes)
                assert 800 <= max(note.start_ms + note.length_ms for note in notes) <= 5_000


def test_only_instruments_of_several_keys_play_chords(midi: ModuleType):
    for style in midi.STYLES:
        notes = midi.instrument_notes(Random(0), style, lowest=40, highest=80, chords=False)
        starts = [note.start_ms for note in notes]
        assert len(set(starts)) == len(starts)


def test_percussion_plays_its_own_key(midi: ModuleType):
    for style in midi.DRUM_STYLES:
        assert {note.key for note in midi.drum_notes(Random(1), style, 54)} == {54}


def test_a_midi_file_presses_and_releases_every_key(midi: ModuleType):
    notes = midi.kit_notes(Random(3))
    program, *events = midi_events(midi.midi_file(notes, program=8, percussion=True))
    assert program == (0, bytes((0xC9, 8)))
    pressed = {(at, event[1], event[2]) for at, event in events if event[0] == 0x99}
    released = {(at, event[1]) for at, event in events if event[0] == 0x89}
    assert pressed == {(note.start_ms, note.key, note.velocity) for note in notes}
    assert released == {(note.start_ms + note.length_ms, note.key) for note in notes}


def test_a_key_is_released_before_it_is_pressed_again(midi: ModuleType):
    for seed in range(20):
        for style in midi.STYLES:
            notes = midi.instrument_notes(Random(seed), style, lowest=36, highest=60, chords=True)
            down: set[int] = set()
            for _, event in midi_events(midi.midi_file(notes, program=0))[1:]:
                assert (event[1] in down) == (event[0] >> 4 == 8)
                down ^= {event[1]}
            assert not down


def test_equal_seeds_give_equal_bytes(midi: ModuleType):
    def rendered(seed: int, style: str) -> bytes:
        notes = midi.instrument_notes(Random(seed), style, lowest=40, highest=80, chords=True)
        return midi.midi_file(notes, program=4)

    for style in midi.STYLES:
        assert rendered(5, style) == rendered(5, style)
        assert len({rendered(seed, style) for seed in range(8)}) > 1


def test_a_long_pause_keeps_its_length(midi: ModuleType):
    file = midi.midi_file([midi.Note(20_000, 300, 60)], program=0)
    assert [at for at, _ in midi_events(file)] == [0, 20_000, 20_300]


def test_every_planned_sound_has_a_known_class_a_licence_and_its_own_file(script: ModuleType):
    classes = tomllib.loads((SCRIPTS / "class_sentences.toml").read_text("utf-8"))
    rows = [sound.row() for sound in script.planned_sounds(share_alike=True)]
    assert {row["class"] for row in rows} <= set(classes)
    assert len({row["file"] for row in rows}) == len(rows)
    for row in rows:
        assert list(row) == COLUMNS
        assert all(row.values()), row
        assert re.fullmatch(r"[a-z0-9_-]+\.flac", row["file"]), row
    assert 900 <= len(rows) <= 1_200


def test_a_group_has_one_class(script: ModuleType):
    classes: dict[str, str] = {}
    for sound in script.planned_sounds(share_alike=True):
        assert classes.setdefault(sound.group, sound.class_name) == sound.class_name


def test_share_alike_prompts_can_be_left_out(script: ModuleType):
    sounds = script.planned_sounds(share_alike=True)
    free = script.planned_sounds(share_alike=False)
    left_out = {sound.name for sound in sounds} - {sound.name for sound in free}
    assert left_out == {sound.name for sound in sounds if "BY-SA" in sound.licence}
    assert left_out


def test_two_plans_are_equal(script: ModuleType):
    first, second = (script.planned_sounds(share_alike=True) for _ in range(2))
    assert [sound.row() for sound in first] == [sound.row() for sound in second]
    for one, other in zip(first, second, strict=True):
        assert one.render.args == other.render.args


def test_a_sound_is_neither_silent_nor_too_short_or_long(script: ModuleType):
    noise = np.random.default_rng(0).uniform(-1, 1, 10 * script.RATE).astype(np.float32)
    assert len(script.fitted(noise, "long")) == 8 * script.RATE
    assert len(script.fitted(noise[:1_000], "short")) == script.RATE
    dying = noise * np.float32(0.9) ** np.arange(len(noise), dtype=np.float32)
    assert len(script.fitted(dying, "dying")) == script.RATE
    assert 0.2 <= np.abs(script.fitted(noise[: 3 * script.RATE], "level")).max() <= 0.9
    with pytest.raises(ValueError, match="is silent"):
        script.fitted(np.zeros(script.RATE, np.float32), "silence")


def test_missing_programs_are_named_by_their_packages(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setitem(script.TABLES, "packages", {"no-such-program": "the-package"})
    with pytest.raises(typer.Exit):
        script.main(tmp_path / "out", limit=1, share_alike=False)
    error = capsys.readouterr().err
    assert "apt-get install the-package" in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_prompts_without_speech_are_not_joined(script: ModuleType, tmp_path: Path):
    for name, seconds in (("hello", 3), ("beep", 3), ("goodbye", 3)):
        samples = np.full(seconds * script.RATE, 0.5 if name != "beep" else 0.9, np.float32)
        script.write_flac(tmp_path / f"{name}.wav", samples)
    joined = script.join_prompts(tmp_path, "some name", tmp_path)
    assert 2 * script.RATE <= len(joined) <= 8 * script.RATE
    assert np.abs(joined).max() < 0.6


class TestRendering:
    """With the programs installed."""

    @pytest.fixture(autouse=True)
    def programs(self, script: ModuleType) -> None:
        if missing := script.missing_packages(share_alike=True):
            pytest.skip(f"rendering needs Debian packages: {' '.join(missing)}")

    def test_every_source_sounds(self, script: ModuleType, tmp_path: Path):
        sounds = {sound.source: sound for sound in script.planned_sounds(share_alike=True)}
        for number, sound in enumerate(sounds.values()):
            work = tmp_path / str(number)
            work.mkdir()
            path = work / "sound.flac"
            script.write_flac(path, script.fitted(sound.render(work), sound.name))
            samples = load_audio(path, script.RATE)
            assert 1 <= len(samples) / script.RATE <= 8, sound.name
            assert 0.19 <= np.abs(samples).max() <= 0.91, sound.name

    def test_no_joined_prompt_is_empty(self, script: ModuleType):
        for prompts in script.prompt_tables(share_alike=True):
            for path in Path(prompts["folder"]).glob("*.wav"):
                if path.stem not in script.TABLES["not_speech"]["names"]:
                    assert path.stat().st_size > 1_000, path

    def test_a_complete_folder_is_left_alone_and_an_incomplete_one_is_rendered_anew(
        self, script: ModuleType, tmp_path: Path
    ):
        script.main(tmp_path, limit=2, share_alike=True)
        table = tmp_path / "rendered.csv"
        first, second = (tmp_path / row["file"] for row in read_rows(table))
        content = second.read_bytes()
        first.write_bytes(b"")
        script.main(tmp_path, limit=2, share_alike=True)
        assert first.read_bytes() == b""
        second.unlink()
        script.main(tmp_path, limit=2, share_alike=True)
        assert first.stat().st_size > 0
        assert second.read_bytes() == content

    def test_two_renderings_are_equal(self, script: ModuleType, tmp_path: Path):
        folders = [tmp_path / "a", tmp_path / "b"]
        for folder in folders:
            script.main(folder, limit=3, share_alike=True)
        for row in read_rows(folders[0] / "rendered.csv"):
            first, second = ((folder / row["file"]).read_bytes() for folder in folders)
            assert first == second

    def test_fluidsynth_plays_for_as_long_as_the_notes(
        self, script: ModuleType, midi: ModuleType, tmp_path: Path
    ):
        notes = [midi.Note(0, 2_000, 60)]
        sound = script.font_sound("a", "Organ", "g", midi.midi_file(notes, program=19))
        samples = sound.render(tmp_path)
        assert 2 * script.RATE <= len(samples) <= 8 * script.RATE
        assert np.abs(samples[script.RATE : 2 * script.RATE]).max() > script.SILENT_PEAK
