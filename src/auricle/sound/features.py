"""Computes log-mel spectrograms, with one set of parameters for each front end.

A network works only with the front end that it was trained with, so a checkpoint names its own.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import numpy as np

from auricle.errors import AuricleError

# Shorter sounds are padded with silence, so that every network gives at least one frame.
MINIMUM_SECONDS = 1.0
# Increases with every change of the output of `log_mel`, so that spectrograms on disk are computed
# again.
LOG_MEL_VERSION = 2
# The float64 spectra of this number of frames fit into the processor's cache.
FRAMES_AT_A_TIME = 128
# numpy's OpenBLAS keeps a product of matrices with at most this number of multiplications on one
# thread. Larger products wake threads, which then wait in a busy loop and slow down other sounds.
ONE_THREAD_MULTIPLICATIONS = 1 << 18


@dataclass(frozen=True)
class FrontEnd:
    """The parameters of one log-mel spectrogram; lengths are in samples, frequencies in Hz."""

    name: str
    rate: int
    window: int
    hop: int
    fft: int
    window_shape: Literal["hann", "hann_symmetric", "hamming"]
    centred: bool  # frame i is centred on sample i * hop; the signal is reflected at its ends
    power: int  # exponent of the magnitude spectrum: 1 or 2
    mels: int
    low: float
    high: float
    mel_scale: Literal["slaney", "htk"]
    logarithm: Literal["decibel", "natural"]
    floor: float  # decibel: log of max(x, floor); natural: log of x + floor
    pre_emphasis: float = 0.0  # y[t] = x[t + 1] - pre_emphasis * x[t]; 0: y = x
    offset: float = 0.0  # the output is (log-mel + offset) / scale
    scale: float = 1.0

    @property
    def frames_per_second(self) -> float:
        """The number of log-mel frames in a second of sound."""
        return self.rate / self.hop

    def frames(self, samples: int) -> int:
        """Returns the number of frames of a sound of `samples` samples."""
        samples = max(samples, int(MINIMUM_SECONDS * self.rate)) - bool(self.pre_emphasis)
        return 1 + (samples if self.centred else samples - self.window) // self.hop


# The front end of PANNs (Kong et al. 2020), with which Cnn10 was trained.
PANNS = FrontEnd(
    name="panns",
    rate=32000,
    window=1024,
    hop=320,
    fft=1024,
    window_shape="hann",
    centred=True,
    power=2,
    mels=64,
    low=50,
    high=14000,
    mel_scale="slaney",
    logarithm="decibel",
    floor=1e-10,
)
# The paper: 44.1 kHz, 1024-point Hamming window, 50 % overlap, 64 mel bands. It gives no band edges
# and no reference for decibels. This front end uses those of PANNs, so that the weights of PANNs
# get bands and levels close to those of their training.
PAPER = replace(PANNS, name="paper", rate=44100, hop=512, window_shape="hamming")
# EfficientAT (Schmid et al. 2023), with Kaldi's mel filters.
MOBILENET = FrontEnd(
    name="mobilenet",
    rate=32000,
    window=800,
    hop=320,
    fft=1024,
    window_shape="hann_symmetric",
    centred=True,
    power=2,
    mels=128,
    low=0,
    high=15000,
    mel_scale="htk",
    logarithm="natural",
    floor=1e-05,
    pre_emphasis=0.97,
    offset=4.5,
    scale=5.0,
)
# VGGish (Hershey et al. 2017): magnitudes, not powers.
VGGISH = FrontEnd(
    name="vggish",
    rate=16000,
    window=400,
    hop=160,
    fft=512,
    window_shape="hann",
    centred=False,
    power=1,
    mels=64,
    low=125,
    high=7500,
    mel_scale="htk",
    logarithm="natural",
    floor=0.01,
)
FRONT_ENDS = {front_end.name: front_end for front_end in (PAPER, PANNS, MOBILENET, VGGISH)}


def front_end(name: str) -> FrontEnd:
    """Returns the front end of a name.

    Raises:
        AuricleError: the name is unknown.
    """
    if name not in FRONT_ENDS:
        raise AuricleError(f"unknown front end '{name}': choose one of {', '.join(FRONT_ENDS)}")
    return FRONT_ENDS[name]


def log_mel(samples: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    """Returns the log-mel spectrogram of a whole sound: (samples,) -> (frames, mels), float32."""
    return np.concatenate(list(log_mel_stream([samples], front_end)))


def log_mel_stream(chunks: Iterable[np.ndarray], front_end: FrontEnd) -> Iterator[np.ndarray]:
    """Yields log-mel frames of a sound that arrives in chunks of any size.

    Args:
        chunks: mono samples, (n,) each, in [-1, 1], at `front_end.rate`.
        front_end: the parameters.

    Yields:
        (frames, mels) float32; together they equal the frames of the whole sound.
    """
    margin = front_end.window // 2 if front_end.centred else 0
    held = np.zeros(0, np.float32)  # the signal that later frames need
    first = 0  # the place in `held` at which the next frame begins
    mirrored = margin == 0  # whether `held` begins with the reflection before the sound
    for samples in _emphasised(
        _at_least(chunks, int(MINIMUM_SECONDS * front_end.rate)), front_end.pre_emphasis
    ):
        held = np.concatenate([held, samples])
        if not mirrored:
            if len(held) <= margin:
                continue
            held = np.concatenate([held[margin:0:-1], held])
            mirrored = True
        count = (len(held) - first - front_end.window) // front_end.hop + 1
        if count > 0:
            yield from _spectra(held[first:], count, front_end)
            first += count * front_end.hop
            # The reflection after the sound's end needs the last `margin` + 1 samples.
            spent = max(0, min(first, len(held) - margin - 1))
            held, first = held[spent:], first - spent
    if margin:
        held = np.concatenate([held, held[-2 : -margin - 2 : -1]])
        count = (len(held) - first - front_end.window) // front_end.hop + 1
        if count > 0:
            yield from _spectra(held[first:], count, front_end)


def _at_least(chunks: Iterable[np.ndarray], samples: int) -> Iterator[np.ndarray]:
    seen = 0
    for chunk in chunks:
        seen += len(chunk)
        yield np.asarray(chunk, np.float32)
    if seen < samples:
        yield np.zeros(samples - seen, np.float32)


def _emphasised(chunks: Iterable[np.ndarray], coefficient: float) -> Iterator[np.ndarray]:
    if not coefficient:
        yield from chunks
        return
    last = np.zeros(0, np.float32)
    for chunk in chunks:
        joined = np.concatenate([last, chunk])
        last = joined[-1:]
        yield joined[1:] - np.float32(coefficient) * joined[:-1]


def _spectra(signal: np.ndarray, count: int, front_end: FrontEnd) -> Iterator[np.ndarray]:
    """Yields `count` log-mel frames in blocks; the first frame begins with the signal."""
    for start in range(0, count, FRAMES_AT_A_TIME):
        frames = range(start, min(start + FRAMES_AT_A_TIME, count))
        yield _mel(_magnitudes(signal, frames, front_end), front_end)


def _magnitudes(signal: np.ndarray, frames: range, front_end: FrontEnd) -> np.ndarray:
    """Returns the spectra of frames, (frames, bins) float32; frame 0 begins where the signal does.

    Args:
        signal: (samples,), contiguous.
        frames: neighbouring frames.
        front_end: the parameters.
    """
    # A view of the signal; numpy's `sliding_window_view` takes as long as the log-mel of .1 s.
    step = signal.itemsize
    view = np.ndarray(
        (len(frames), front_end.window),
        signal.dtype,
        signal[frames.start * front_end.hop :],
        strides=(front_end.hop * step, step),
    )
    # A float64 transform is both faster and more accurate than numpy's float32 one.
    spectrum = np.fft.rfft(view * window_weights(front_end), front_end.fft)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return power if front_end.power == 2 else np.sqrt(power)


def _mel(magnitudes: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    """Returns the log-mel of magnitudes: (frames, bins) -> (frames, mels)."""
    groups = _filter_groups(front_end)
    bands = [magnitudes[:, low:high] @ weights for low, high, weights in groups]
    return to_log(np.concatenate(bands, 1), front_end)


class SlidingLogMel:
    """Log-mel of a window that slides over a stream: that of `log_mel`, to the last bit.

    Frames that lie within both the window and the one before are transformed once.

    Args:
        front_end: the parameters.
    """

    def __init__(self, front_end: FrontEnd) -> None:
        self._front_end = front_end
        self._end = 0  # of the last window, in samples
        self._magnitudes = np.zeros((0, 0), np.float32)  # of its frames

    def log_mel(self, samples: np.ndarray, end: int) -> np.ndarray:
        """Returns the log-mel of a window: (samples,) -> (frames, mels).

        Args:
            samples: the window; all windows of at least a second have the same length.
            end: the position in the stream of the sample after the window.
        """
        front_end = self._front_end
        hop, margin = front_end.hop, front_end.window // 2
        short = len(samples) < int(MINIMUM_SECONDS * front_end.rate)
        if short or not front_end.centred:
            return log_mel(samples, front_end)
        (signal,) = _emphasised([samples], front_end.pre_emphasis)
        size = len(signal)
        # As in `log_mel_stream`, which transforms the frames that reach beyond the end by
        # themselves. Rounding depends on how many are multiplied at a time.
        signal = np.concatenate([signal[margin:0:-1], signal, signal[-2 : -margin - 2 : -1]])
        count = size // hop + 1
        inner = (margin + size - front_end.window) // hop + 1
        moved, rest = divmod(end - self._end, hop)
        first = -(-margin // hop)  # the first frame that lies within the window
        kept = self._magnitudes[first + moved : inner] if rest == 0 and moved >= 0 else None
        self._end = end
        if kept is None or len(kept) == 0 or len(self._magnitudes) != count:
            parts = [_magnitudes(signal, range(count), front_end)]
        else:
            begin = _magnitudes(signal, range(first), front_end)
            new = _magnitudes(signal, range(first + len(kept), count), front_end)
            parts = [begin, kept, new]
        self._magnitudes = np.concatenate(parts)
        blocks = [*range(0, inner, FRAMES_AT_A_TIME), inner, count]
        return np.concatenate(
            [
                _mel(self._magnitudes[start:stop], front_end)
                for start, stop in itertools.pairwise(blocks)
            ]
        )


def to_log(mel: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    """Turns mel bands of the spectrum, of any shape, into log-mel."""
    if front_end.logarithm == "decibel":
        return 10.0 * np.log10(np.maximum(mel, front_end.floor))
    return (np.log(mel + front_end.floor) + front_end.offset) / front_end.scale


def floor_of(front_end: FrontEnd) -> float:
    """Returns the log-mel value of digital silence."""
    return float(to_log(np.zeros(()), front_end))


def from_log(log_mel: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    """Inverts `to_log`, down to the floor."""
    if front_end.logarithm == "decibel":
        return 10.0 ** (log_mel / 10.0)
    return np.maximum(np.exp(log_mel * front_end.scale - front_end.offset) - front_end.floor, 0)


def with_least_frames(log_mel: np.ndarray, frames: int) -> np.ndarray:
    """Returns a spectrogram of at least `frames` frames: (frames, mels), zeros at the end."""
    missing = max(0, frames - len(log_mel))
    return np.pad(log_mel, ((0, missing), (0, 0))) if missing else log_mel


def pad_with_silence(log_mel: np.ndarray, seconds: float, front_end: FrontEnd) -> np.ndarray:
    """Returns a spectrogram of at least `seconds`: (frames, mels), silence at the end."""
    missing = round(seconds * front_end.frames_per_second) - len(log_mel)
    if missing <= 0:
        return log_mel
    silence = to_log(np.zeros(1, np.float32), front_end)[0]
    return np.pad(log_mel, ((0, missing), (0, 0)), constant_values=silence)


@cache
def window_weights(front_end: FrontEnd) -> np.ndarray:
    """Returns the window, (window,) float64; periodic, except `hann_symmetric`."""
    period = front_end.window - (front_end.window_shape == "hann_symmetric")
    edge = 0.54 if front_end.window_shape == "hamming" else 0.5
    return edge - (1 - edge) * np.cos(2 * np.pi * np.arange(front_end.window) / period)


@cache
def mel_filters(front_end: FrontEnd) -> np.ndarray:
    """Returns triangular mel filters: (fft // 2 + 1, mels) float32.

    `htk`: mel = 1127 ln(1 + f / 700), triangles straight in mel, height 1, without the first and
    the last bin, as in Kaldi and VGGish. `slaney`: linear below 1 kHz and logarithmic above,
    triangles straight in Hz, area 1 (Auditory Toolbox, 1998; librosa's default).
    """
    bins = np.arange(front_end.fft // 2 + 1) * front_end.rate / front_end.fft
    if front_end.mel_scale == "htk":
        position = _hz_to_htk(bins)
        edges = np.linspace(
            _hz_to_htk(front_end.low), _hz_to_htk(front_end.high), front_end.mels + 2
        )
        height = np.ones(front_end.mels)
    else:
        position = bins
        mels = np.linspace(
            _hz_to_slaney(front_end.low), _hz_to_slaney(front_end.high), front_end.mels + 2
        )
        edges = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
        height = 2 / (edges[2:] - edges[:-2])
    rising = (position[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - position[:, None]) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling)) * height
    if front_end.mel_scale == "htk":
        filters[[0, -1]] = 0
    return filters.astype(np.float32)


@cache
def _filter_groups(front_end: FrontEnd) -> list[tuple[int, int, np.ndarray]]:
    """Returns the mel filters in groups of neighbouring bands: first bin, last bin, (bins, bands).

    The whole matrix is mostly zeros. Each group is small enough for one thread.
    """
    filters = mel_filters(front_end)

    def group(first: int, last: int) -> tuple[int, int, np.ndarray]:
        bins = np.flatnonzero(filters[:, first:last].any(1))
        low, high = int(bins[0]), int(bins[-1]) + 1
        return low, high, np.ascontiguousarray(filters[low:high, first:last])

    groups, first = [], 0
    for last in range(1, front_end.mels + 1):
        if (
            last == front_end.mels
            or FRAMES_AT_A_TIME * group(first, last + 1)[2].size > ONE_THREAD_MULTIPLICATIONS
        ):
            groups.append(group(first, last))
            first = last
    return groups


def _hz_to_htk(hz: np.ndarray | float) -> np.ndarray:
    return 1127 * np.log1p(np.asarray(hz) / 700)


def _hz_to_slaney(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)
