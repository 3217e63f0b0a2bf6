"""Log-mel spectrograms: equal to the references, and chunked equal to whole."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.errors import AuricleError
from auricle.sound.decode import load_audio
from auricle.sound.features import (
    FRAMES_AT_A_TIME,
    FRONT_ENDS,
    ONE_THREAD_MULTIPLICATIONS,
    FrontEnd,
    SlidingLogMel,
    _filter_groups,
    floor_of,
    from_log,
    front_end,
    log_mel,
    log_mel_stream,
    mel_filters,
    to_log,
)
from sounds import chirp, tone

each_front_end = pytest.mark.parametrize("parameters", FRONT_ENDS.values(), ids=FRONT_ENDS)
MN04 = ("1-30226-A", "1-17367-A", "4-180380-A")


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, samples).astype(np.float32)


def mn04_reference(shared: Path, name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Sound at 32 kHz and EfficientAT's features and outputs for it.

    Its authors resampled 44.1 kHz to 32 kHz by other means than FFmpeg's; scipy's polyphase filter
    is near to them.
    """
    signal = pytest.importorskip("scipy.signal", reason="the reference was resampled as scipy does")
    weights = shared / "corpus" / "weights" / "efficientat_mn04"
    path = next((shared / "corpus" / "audio").glob(f"*/{name}.*"))
    sound = signal.resample_poly(load_audio(path, 44_100), 320, 441).astype(np.float32)
    with np.load(weights / "reference_outputs.npz") as outputs:
        return sound, {
            key: outputs[f"{name}__{key}"] for key in ("mel", "featmap", "logits", "emb")
        }


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_digital_silence_has_the_floor(name: str):
    front_end = FRONT_ENDS[name]
    silent = log_mel(np.zeros(front_end.rate, np.float32), front_end)
    assert silent == pytest.approx(np.full_like(silent, floor_of(front_end)))


def test_panns_equals_its_reference(shared: Path):
    with np.load(shared / "reference" / "panns_cnn10" / "cnn10_reference.npz") as reference:
        ours = log_mel(reference["waveform"], FRONT_ENDS["panns"])
        np.testing.assert_allclose(ours, reference["logmel"], rtol=0, atol=1e-3)  # dB


def test_vggish_equals_its_reference(shared: Path):
    with np.load(shared / "reference" / "vggish" / "vggish_reference.npz") as reference:
        ours = log_mel(reference["waveform"], FRONT_ENDS["vggish"])
        examples = ours[: len(ours) // 96 * 96].reshape(-1, 96, 64)
        np.testing.assert_allclose(examples, reference["examples"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", MN04)
def test_mobilenet_equals_its_reference(shared: Path, name: str):
    sound, reference = mn04_reference(shared, name)
    error = np.abs(log_mel(sound, FRONT_ENDS["mobilenet"]) - reference["mel"][0].T)
    # Next to silence the logarithm magnifies what resampling rounds: 2 of 64,128 values of one clip
    # are 1.2e-4 away.
    assert error.max() < 2e-4
    assert np.quantile(error, 0.999) < 1e-4


def test_mobilenet_leads_to_the_reference_outputs(shared: Path):
    torch = pytest.importorskip(
        "torch", reason="MobileNet runs on torch: pip install 'auricle[train]'"
    )
    from auricle.models.mobilenet import MobileNet
    from auricle.training.weights import load_published

    model = MobileNet(0.4).eval()
    weights = shared / "corpus" / "weights" / "efficientat_mn04" / "mn04_as_mAP_432.pt"
    model.load_state_dict(load_published(weights), strict=True)
    for name in MN04:
        sound, reference = mn04_reference(shared, name)
        with torch.inference_mode():
            features = model(torch.from_numpy(log_mel(sound, FRONT_ENDS["mobilenet"]))[None])
            mask = torch.ones(features.shape[:2], dtype=torch.bool)
            np.testing.assert_allclose(
                features[0], reference["featmap"].mean(1).T, rtol=0, atol=1e-4
            )
            np.testing.assert_allclose(
                model.embed(features, mask)[0], reference["emb"], rtol=0, atol=1e-4
            )
            np.testing.assert_allclose(
                model.tags(features, mask)[0], reference["logits"], rtol=0, atol=1e-4
            )


@each_front_end
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_chunked_equals_whole(parameters: FrontEnd, data: st.DataObject):
    sound = noise(data.draw(st.integers(1, 3 * parameters.rate)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sound)), max_size=8)))
    # a tail of this number of chunks of a single sample
    small = data.draw(st.sampled_from([0, 1, 7, 100]))
    cuts = [*cuts, *range(max(cuts[-1] if cuts else 0, len(sound) - small), len(sound))]
    chunks = [sound[a:b] for a, b in itertools.pairwise([0, *cuts, len(sound)])]
    streamed = list(log_mel_stream(chunks, parameters))
    np.testing.assert_allclose(
        np.concatenate(streamed), log_mel(sound, parameters), rtol=0, atol=2e-5
    )
    assert all(piece.dtype == np.float32 and len(piece) for piece in streamed)


@each_front_end
@settings(max_examples=30, deadline=None)
@given(samples=st.integers(1, 60_000))
def test_frames_are_as_many_as_foretold(parameters: FrontEnd, samples: int):
    assert log_mel(noise(samples), parameters).shape == (
        parameters.frames(samples),
        parameters.mels,
    )


@each_front_end
def test_memory_does_not_grow_with_the_sound(parameters: FrontEnd):
    """Frames come while the sound does: after every second of it all but the last few are out."""
    fed = 0

    def seconds():
        nonlocal fed
        for second in range(20):
            fed += parameters.rate
            yield noise(parameters.rate, second)

    out = 0
    for frames in log_mel_stream(seconds(), parameters):
        # Of what had been fed before this chunk, every frame is out but those that overlap its end.
        assert out >= (fed - parameters.rate - 2 * parameters.window) // parameters.hop
        out += len(frames)


@each_front_end
def test_a_short_sound_is_followed_by_silence(parameters: FrontEnd):
    sound = noise(parameters.rate // 3)
    silence = np.zeros(parameters.rate - len(sound), np.float32)
    padded = log_mel(np.concatenate([sound, silence]), parameters)
    np.testing.assert_allclose(log_mel(sound, parameters), padded, rtol=0, atol=2e-5)


@each_front_end
def test_silence_and_full_scale_are_finite(parameters: FrontEnd):
    for sound in (
        np.zeros(parameters.rate),
        np.ones(parameters.rate),
        tone(1, 997, parameters.rate, amplitude=1),
    ):
        assert np.isfinite(log_mel(sound.astype(np.float32), parameters)).all()


@pytest.mark.parametrize("name", ["paper", "panns"])
def test_decibels_follow_the_level(name: str):
    parameters = FRONT_ENDS[name]
    sound = noise(parameters.rate)
    louder = log_mel(10 * sound, parameters) - log_mel(sound, parameters)
    np.testing.assert_allclose(louder, 20, rtol=0, atol=1e-3)


@each_front_end
@settings(max_examples=50, deadline=None)
@given(exponents=st.lists(st.floats(-12, 5), min_size=1, max_size=20))
def test_mel_bands_come_back_from_their_logarithm_down_to_the_floor(
    parameters: FrontEnd, exponents: list[float]
):
    mel = (10.0 ** np.array(exponents)).astype(np.float32)
    back = from_log(to_log(mel, parameters), parameters)
    assert (back >= 0).all()
    # Decibels stop at the floor. The natural logarithm has it added, and rounding loses power far
    # below it.
    heard = np.maximum(mel, parameters.floor) if parameters.logarithm == "decibel" else mel
    np.testing.assert_allclose(back, heard, rtol=2e-5, atol=2e-5 * parameters.floor)


def test_the_paper_front_end_is_the_papers():
    paper = front_end("paper")
    assert (paper.rate, paper.window, paper.fft, paper.mels) == (44_100, 1024, 1024, 64)
    assert paper.hop * 2 == paper.window
    assert paper.window_shape == "hamming"
    assert paper.logarithm == "decibel"


@each_front_end
def test_filters_are_triangles_that_tile_the_band(parameters: FrontEnd):
    filters = mel_filters(parameters)
    hz = np.arange(len(filters)) * parameters.rate / parameters.fft
    assert filters.shape == (parameters.fft // 2 + 1, parameters.mels)
    assert (filters >= 0).all()
    assert not filters[(hz < parameters.low) | (hz > parameters.high)].any()
    for band in filters.T:
        inside = np.flatnonzero(band)
        if len(inside):
            rise = np.diff(band[inside[0] : inside[-1] + 1])
            assert len(inside) == inside[-1] - inside[0] + 1  # without gaps
            assert (np.diff(np.sign(rise[rise != 0])) <= 0).all()  # up, then down
    # No bin between the first centre and the last is deaf, and centres ascend.
    heard = np.flatnonzero(filters.any(1))
    assert len(heard) == heard[-1] - heard[0] + 1
    centres = [band.argmax() for band in filters.T if band.any()]
    assert centres == sorted(centres)


@each_front_end
def test_groups_of_filters_are_the_filters_and_small(parameters: FrontEnd):
    whole, band = np.zeros_like(mel_filters(parameters)), 0
    for low, high, weights in _filter_groups(parameters):
        assert FRAMES_AT_A_TIME * weights.size <= ONE_THREAD_MULTIPLICATIONS
        whole[low:high, band : band + weights.shape[1]] = weights
        band += weights.shape[1]
    np.testing.assert_array_equal(whole, mel_filters(parameters))


@pytest.mark.parametrize("name", ["paper", "panns"])
def test_slaney_filters_have_equal_area(name: str):
    parameters = FRONT_ENDS[name]
    area = mel_filters(parameters).sum(0) * parameters.rate / parameters.fft
    # narrower bands are sampled by too few bins to say
    np.testing.assert_allclose(area[30:], 1, atol=0.05)


@each_front_end
def test_a_rising_tone_rises_through_the_bands(parameters: FrontEnd):
    rising = log_mel(chirp(3, 500, 6_000, parameters.rate), parameters)
    loudest = rising[5:-5].argmax(1)
    assert loudest[-1] - loudest[0] > parameters.mels // 4
    assert (np.diff(loudest) >= -1).all()


def test_an_unknown_front_end_is_refused_with_the_known():
    with pytest.raises(AuricleError, match=r"'pann'.*paper.*panns.*mobilenet.*vggish"):
        front_end("pann")


@each_front_end
def test_a_sliding_window_has_the_log_mel_of_its_samples(parameters: FrontEnd):
    rate = parameters.rate
    samples = np.random.default_rng(3).standard_normal(4 * rate).astype(np.float32) / 10
    sliding = SlidingLogMel(parameters)
    # short at first, then a second, with a gap, and an end that is off the grid of hops
    for end_seconds in (0.25, 0.5, 1.0, 1.25, 1.5, 1.75, 3.0, 3.25, 3.3, 3.55, 4.0):
        end = round(end_seconds * rate)
        window = samples[max(0, end - rate) : end]
        assert np.array_equal(sliding.log_mel(window, end), log_mel(window, parameters))
