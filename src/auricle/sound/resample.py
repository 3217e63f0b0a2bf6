"""Converts samples of any type and rate to mono float32 at one rate."""

from collections.abc import Iterable, Iterator

import av
import numpy as np

from auricle.errors import AudioError

MIN_RATE, MAX_RATE = 1_000, 768_000  # Hz
MAX_CHANNELS = 64
# Full scale is 1. Larger samples are not sound: they were read with a wrong type or byte order.
MAX_LEVEL = 2.0**32
CANCELLED_SHARE = 0.01  # two channels cancel if their sum keeps less than this share of the energy


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Converts an array to mono float32 at `to_rate`, exactly like a file with these samples.

    Args:
        samples: (samples,) or (channels, samples); floats with full scale 1, or uint8, int16 or
            int32 PCM.
        from_rate: its sampling rate, in Hz.
        to_rate: the sampling rate of the result, in Hz.

    Returns:
        (samples,) float32, the mean of the channels.

    Raises:
        AudioError: another shape or type, no samples, NaN or infinity, or a rate outside 1 kHz to
            768 kHz.
    """
    try:
        check_rate(from_rate, "given")
        check_rate(to_rate, "asked for")
        channels = np.atleast_2d(samples)
        if channels.dtype.kind != "f" and channels.dtype not in (np.uint8, np.int16, np.int32):
            raise AudioError(
                f"of type {channels.dtype}; expected floats with full scale 1, "
                "or uint8, int16 or int32 PCM"
            )
        if channels.ndim > 2 or not channels.size or len(channels) > MAX_CHANNELS:
            raise AudioError(
                f"of shape {np.shape(samples)}; expected (samples,) or (channels, samples), "
                f"not empty, with at most {MAX_CHANNELS} channels"
            )
        # Uses blocks of a second, like decoding: each block is searched for channels that cancel.
        blocks = (
            (from_rate, to_mono(channels[:, start : start + from_rate]))
            for start in range(0, channels.shape[1], from_rate)
        )
        return np.concatenate(list(resample_blocks(blocks, to_rate)))
    except AudioError as error:
        raise AudioError(f"array: {error}") from None


def resample_stream(blocks: Iterable[tuple[int, np.ndarray]], rate: int) -> Iterator[np.ndarray]:
    """Converts samples that arrive in pieces to mono float32 at `rate`.

    Replaces samples that are NaN, infinite or implausibly large by 0, because a live stream
    continues.

    Args:
        blocks: sampling rates, in Hz, and samples, (channels, samples), of types as for `resample`.
        rate: the sampling rate of the result, in Hz.

    Yields:
        (samples,) float32, the mean of the channels, as early as possible.

    Raises:
        AudioError: there are no samples.
    """
    blocks = ((from_rate, to_mono(_plausible(channels))) for from_rate, channels in blocks)
    return resample_blocks(blocks, rate)


def are_plausible(samples: np.ndarray) -> bool:
    """Returns whether all samples are numbers of a level that sound can have."""
    return samples.dtype.kind != "f" or bool(np.all(np.abs(samples) <= MAX_LEVEL))


def _plausible(channels: np.ndarray) -> np.ndarray:
    """Returns the samples, with 0 instead of implausible ones."""
    if are_plausible(channels):
        return channels
    return np.where(np.abs(channels) <= MAX_LEVEL, channels, 0)


def to_mono(channels: np.ndarray) -> np.ndarray:
    """Returns the mean of the channels, without those that would cancel another.

    If one channel is nearly the inverse of another, as with swapped wires, their mean would be
    silent. Then only the louder of the two counts.

    Args:
        channels: (channels, samples) of any PCM type.

    Returns:
        (samples,) float32, with full scale 1.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # `level_problem` finds infinite samples
        if len(channels) > 1:
            channels = channels[_kept_channels(channels)]
        mono = np.add.reduce(channels, axis=0, dtype=np.float32) / np.float32(len(channels))
        if channels.dtype == np.uint8:
            return (mono - 128) / 128
        return (
            mono / np.float32(2.0 ** (8 * channels.itemsize - 1))
            if channels.dtype.kind == "i"
            else mono
        )


def _kept_channels(channels: np.ndarray) -> np.ndarray:
    """Returns the numbers of the channels that no louder channel cancels."""
    signals = channels.astype(np.float32)
    if channels.dtype == np.uint8:
        signals -= 128
    products = signals @ signals.T  # (channels, channels); the diagonal holds the energies
    energies = products.diagonal()
    kept: list[int] = []
    for channel in np.argsort(-energies, kind="stable"):  # the loudest first
        both = energies[kept] + energies[channel]
        left = both + 2 * products[kept, channel]
        if not np.any((left < CANCELLED_SHARE * both) & (energies[channel] > 0)):
            kept.append(int(channel))
    return np.sort(kept)


def resample_blocks(blocks: Iterable[tuple[int, np.ndarray]], rate: int) -> Iterator[np.ndarray]:
    """Resamples blocks of mono samples with their rates; the result equals that of one block."""

    def run(frame: av.AudioFrame | None) -> Iterator[np.ndarray]:
        nonlocal has_samples
        for resampled in resampler.resample(frame):
            # If the rates are equal, the resampler returns None for None.
            if resampled is not None and resampled.samples:
                chunk = resampled.to_ndarray()[0]
                if (problem := level_problem(chunk)) is not None:
                    raise AudioError(problem)
                has_samples = True
                yield chunk

    has_samples, current = False, 0
    resampler = av.AudioResampler("fltp", "mono", rate)
    for from_rate, mono in blocks:
        if current not in (0, from_rate):
            yield from run(None)
            resampler = av.AudioResampler("fltp", "mono", rate)
        current = from_rate
        frame = av.AudioFrame.from_ndarray(mono[np.newaxis], "fltp", "mono")
        frame.sample_rate = from_rate
        yield from run(frame)
    yield from run(None)  # the filter's tail
    if not has_samples:
        raise AudioError("is too short; expected a few milliseconds at least")


def level_problem(samples: np.ndarray) -> str | None:
    """Returns the reason for which samples cannot be sound, or None if they can."""
    if are_plausible(samples):
        return None
    if not np.isfinite(samples).all():
        return "has samples that are NaN or infinite; expected finite ones"
    return (
        f"has samples of up to {np.abs(samples).max():.0e}, where full scale is 1; check the type "
        "and the byte order of its samples"
    )


def check_rate(rate: int, which: str) -> None:
    """Raises AudioError for a sampling rate outside `MIN_RATE` to `MAX_RATE`, in Hz."""
    if not isinstance(rate, int | np.integer) or not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(
            f"the sampling rate {which} is {rate} Hz; "
            f"expected a whole number from {MIN_RATE} to {MAX_RATE}"
        )


def frame_samples(frame: av.AudioFrame) -> np.ndarray:
    """Returns a view of a frame, (channels, samples), in the type to which it was decoded."""
    if frame.format.name.startswith("s64"):  # PyAV cannot view this type
        raise AudioError("has samples of 64-bit integers; convert it to 16, 24 or 32 bits")
    samples = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels).T
