"""Notes of short pieces for one instrument, and the MIDI files that play them."""

import struct
from dataclasses import dataclass
from random import Random

MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)  # semitones above the tonic
SCALE_DEGREES = 8  # an octave of it
PIECE_MS = 3_500
CLOSED_HI_HAT, BASS_DRUM, SNARE_DRUM, CRASH_CYMBAL = 42, 36, 38, 49
HIT_MS = 50  # percussion rings on after its key is released
PERCUSSION_CHANNEL = 9
# how an instrument and a percussion instrument play
STYLES = ("single", "scale", "melody", "chords", "arpeggio")
DRUM_STYLES = ("single", "beat", "roll", "rhythm")


@dataclass(frozen=True)
class Note:
    """A key that is pressed for a while; 60 is middle C."""

    start_ms: int
    length_ms: int
    key: int
    velocity: int = 90


def instrument_notes(
    rng: Random, style: str, *, lowest: int, highest: int, chords: bool
) -> list[Note]:
    """A short piece of a single note, a scale, a melody, chords or an arpeggio.

    Args:
        rng: decides key, tempo and loudness.
        style: one of `STYLES`.
        lowest: the lowest key of the instrument.
        highest: the highest one, at least 17 semitones above it.
        chords: whether the instrument plays several keys at a time.
    """
    tonic = rng.randrange(12)
    keys = [key for key in range(lowest, highest + 1) if (key - tonic) % 12 in MAJOR_SCALE]
    first = rng.randrange(len(keys) - SCALE_DEGREES + 1)
    degrees = keys[first : first + SCALE_DEGREES]
    if style == "single":
        notes = [Note(0, rng.choice((800, 1_500, 2_500)), rng.choice(keys))]
    elif style == "scale":
        step_ms = rng.choice((150, 250, 400))
        rising = degrees if rng.random() < 0.6 else degrees[::-1]
        notes = [Note(step_ms * place, step_ms, key) for place, key in enumerate(rising)]
    elif style == "melody":
        notes = melody(rng, keys, first)
    elif style == "chords":
        intervals = (0, 2, 4) if chords else (0,)
        notes = [
            Note(900 * place, 850, degrees[root + interval])
            for place, root in enumerate((0, 3, 2, 0))
            for interval in intervals
        ]
    else:
        step_ms = rng.choice((130, 200))
        shape = (0, 2, 4, 7, 4, 2) * 2
        notes = [Note(step_ms * n, step_ms, degrees[degree]) for n, degree in enumerate(shape)]
    return with_loudness(rng, notes)


def melody(rng: Random, keys: list[int], place: int) -> list[Note]:
    """A walk along the scale in small steps, from the key at `place`."""
    notes, start_ms = [], 0
    while start_ms < PIECE_MS:
        length_ms = rng.choice((120, 240, 240, 480))
        notes.append(Note(start_ms, length_ms, keys[place]))
        start_ms += length_ms
        place = min(max(place + rng.choice((-3, -2, -1, -1, 0, 1, 1, 2, 3)), 0), len(keys) - 1)
    return notes


def drum_notes(rng: Random, style: str, key: int) -> list[Note]:
    """A hit, an even beat, fast even hits or a rhythm of one percussion instrument.

    Args:
        rng: decides tempo and loudness.
        style: one of `DRUM_STYLES`.
        key: of the percussion channel.
    """
    if style == "single":
        starts = [0]
    elif style == "beat":
        step_ms = rng.choice((350, 450, 600))
        starts = [step_ms * place for place in range(4)]
    elif style == "roll":
        step_ms = rng.choice((90, 130, 180))
        starts = [step_ms * place for place in range(16)]
    else:
        starts = [0]
        while starts[-1] < PIECE_MS:
            starts.append(starts[-1] + rng.choice((125, 250, 250, 500)))
    return with_loudness(rng, [Note(start, HIT_MS, key) for start in starts])


def kit_notes(rng: Random) -> list[Note]:
    """A rhythm of bass drum, snare drum and hi-hat, with a rare cymbal."""
    step_ms = rng.choice((110, 140, 170))
    notes = []
    for place in range(24):
        keys = [CLOSED_HI_HAT]
        if place % 8 == 0 or rng.random() < 0.15:
            keys.append(BASS_DRUM)
        if place % 8 == 4:
            keys.append(SNARE_DRUM)
        if rng.random() < 0.05:
            keys.append(CRASH_CYMBAL)
        notes += [Note(step_ms * place, HIT_MS, key) for key in keys]
    return with_loudness(rng, notes)


def with_loudness(rng: Random, notes: list[Note]) -> list[Note]:
    """The notes at one loudness, each a little above or below it."""
    velocity = rng.choice((60, 85, 110))
    return [
        Note(note.start_ms, note.length_ms, note.key, velocity + rng.randint(-8, 8))
        for note in notes
    ]


def midi_file(notes: list[Note], *, program: int, percussion: bool = False) -> bytes:
    """A MIDI file of one track that plays the notes.

    Args:
        notes: in any order.
        program: the instrument, or with `percussion` the drum kit, counted from 0.
        percussion: whether keys are those of the percussion channel.
    """
    channel = PERCUSSION_CHANNEL if percussion else 0
    events = [(0, bytes((0xC0 | channel, program)))]
    for note in notes:
        end_ms = note.start_ms + note.length_ms
        events.append((note.start_ms, bytes((0x90 | channel, note.key, note.velocity))))
        events.append((end_ms, bytes((0x80 | channel, note.key, 0))))
    # The program comes first. A key is released before it is pressed again at the same time.
    events.sort(key=lambda event: (event[0], (0xC0, 0x80, 0x90).index(event[1][0] & 0xF0)))
    # A quarter note of 1,000 ticks lasts 1 s, so that a tick is 1 ms.
    track = b"\0\xff\x51\x03" + (1_000_000).to_bytes(3, "big")
    now_ms = 0
    for at_ms, event in events:
        track += variable_length(at_ms - now_ms) + event
        now_ms = at_ms
    track += b"\0\xff\x2f\0"
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, 1_000)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def variable_length(number: int) -> bytes:
    """A number in MIDI's form: 7 bits a byte, with the highest bit set in all but the last."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.insert(0, number & 0x7F | 0x80)
    return bytes(groups)
