"""Reads the beginning of a sound, which may be all of it."""

from collections.abc import Iterable, Iterator

import numpy as np

from auricle.captioning.results import Sound
from auricle.errors import AudioError, printable
from auricle.sound.container import source_name
from auricle.sound.decode import open_audio
from auricle.sound.resample import resample

# A sound may be longer than the longest by this and still get one caption, of its beginning. Data
# sets of clips of 30 s hold clips that are a little longer, and training cuts them too.
SPARE_SECONDS = 1.0


def read_short_sound(
    sound: Sound, rate: int | None, to_rate: int, longest_seconds: float, track: int | None
) -> tuple[float, np.ndarray]:
    """Reads a sound that gets one caption.

    Args:
        sound: a path, the bytes of a file, an open binary file, or samples.
        rate: of samples, in Hz; `to_rate` if None.
        to_rate: the rate to bring it to, in Hz.
        longest_seconds: of a sound that is up to a second longer, these first ones are returned;
            one that is even longer is refused.
        track: which of several audio tracks, counted from 1; the default one if None.

    Returns:
        The time of the first sample, in seconds, and the samples, (samples,) float32.

    Raises:
        AudioError: the sound cannot be read, or is longer.
    """
    most = most_samples(longest_seconds, to_rate)
    if isinstance(sound, np.ndarray):
        name, start = "array", 0.0
        samples = resample(sound, rate or to_rate, to_rate)
    else:
        name, decoded = printable(source_name(sound)), open_audio(sound, to_rate, track=track)
        start = decoded.start
        samples, rest = read_beginning(decoded.chunks, longest_seconds, to_rate)
        if rest is not None and len(samples) <= most:
            next(rest)  # raises the error that ended the sound
    if len(samples) > most:
        raise AudioError(
            f"{name}: is longer than {longest_seconds:g} s, the most that gets one caption; "
            "caption it in windows, or cut it"
        )
    return start, samples[: int(longest_seconds * to_rate)]


def most_samples(longest_seconds: float, rate: int) -> int:
    """Returns the samples of the longest sound that gets one caption, of its beginning."""
    return int((longest_seconds + SPARE_SECONDS) * rate)


def read_beginning(
    chunks: Iterable[np.ndarray], longest_seconds: float, rate: int
) -> tuple[np.ndarray, Iterator[np.ndarray] | None]:
    """Reads chunks until they are too long for one caption.

    Args:
        chunks: mono samples, (n,) each, of any n.
        longest_seconds: of what one caption tells of. The sound may be a second longer.
        rate: of the samples, in Hz.

    Returns:
        The samples so far, and the other chunks. If the sound has ended well, the samples are its
        first `longest_seconds`, and the other chunks None. If the sound ends with an error, the
        other chunks raise it.

    Raises:
        AudioError: that of the chunks, if no samples come before it.
    """
    chunks = iter(chunks)
    most = most_samples(longest_seconds, rate)
    held: list[np.ndarray] = []
    count = 0
    try:
        for chunk in chunks:
            held.append(chunk)
            count += len(chunk)
            if count > most:
                return np.concatenate(held), chunks
    except AudioError as error:
        if not held:
            raise
        return np.concatenate(held), _raised(error)
    samples = np.concatenate([*held, np.zeros(0, np.float32)])
    return samples[: int(longest_seconds * rate)], None


def _raised(error: AudioError) -> Iterator[np.ndarray]:
    """Yields nothing and raises an error."""
    yield from ()
    raise error
