"""The networks of a checkpoint folder on ONNX Runtime."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import cast

import numpy as np
import onnxruntime

from auricle.captioning.beam_search import NextLogProbs
from auricle.checkpoint.fingerprints import ONE_CAPTIONER, Fingerprints
from auricle.checkpoint.vocabulary import PAD, SOS, UNKNOWN
from auricle.errors import AuricleError

# Sizes of a tensor's axes; None where they vary.
Shape = tuple[int | None, ...]
MEMORY: Shape = (None,) * 5  # layers, rows, heads, positions, size
# The key under which ONNX names another file. It appears verbatim in the encoded file.
EXTERNAL = b"location"
UNKNOWN_FINGERPRINTS = Fingerprints()
NUMBERS = ("tokens", "parents", "events", "whole")  # all other tensors are float32
CPU = "CPUExecutionProvider"
# Do not benchmark convolutions anew for each length, and multiply as exactly as on a CPU.
CUDA = "CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}


@dataclass(frozen=True)
class Memory:
    """The keys and values that the decoder attends to."""

    keys: np.ndarray  # (layers, 1, heads, positions, size)
    values: np.ndarray  # likewise


@dataclass(frozen=True)
class EncodedSound:
    """The encoder's output for one sound."""

    # The sound as the decoder gets it: frames first, then the tags that guide it. None where the
    # decoder words a plan.
    memory: Memory | None = None
    frames: np.ndarray | None = None  # (frames, size), where the decoder words a plan
    tags: np.ndarray | None = None  # (classes,), probabilities, where the encoder gives tags
    # (space,), of length 1, where sounds and sentences can be compared
    embedding: np.ndarray | None = None
    tag_tokens: int = 0  # how many tags stand at the end of the memory
    log_mel: np.ndarray | None = None  # (frames, mels), the input, where the decoder words a plan

    @property
    def mean_frame(self) -> np.ndarray:
        """A vector of the encoder's frames, averaged over time: (size,)."""
        if self.memory is None:
            assert self.frames is not None
            return self.frames.mean(0)
        frame_values = split_positions(self.memory.values, self.tag_tokens, axis=3)[0]
        return frame_values[:, 0].mean(2).ravel()


def split_positions(
    positions: np.ndarray, tag_tokens: int, axis: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Splits an axis of memory positions into frames and tags."""
    frames, tags = np.split(positions, [positions.shape[axis] - tag_tokens], axis)
    return frames, tags


@dataclass(frozen=True)
class Sizes:
    """Expected sizes of the networks of a folder, used to detect files of another checkpoint."""

    mels: int  # of the spectrogram
    words: int  # of the vocabulary
    tags: int  # named classes
    space: int  # of the space in which sounds and sentences are compared; 0: there is none
    tag_tokens: int = 0  # how many tags guide the decoder
    plan: bool = False  # whether the decoder words a plan


class OnnxModel:
    """The networks of a checkpoint folder; safe to be called from several threads.

    Each call runs on one thread. Sounds are captioned in parallel instead, and the result for one
    sound depends on no other. Where ONNX Runtime finds a GPU (`onnxruntime-gpu` does), the encoder
    runs on it; the decoder's steps are too small to gain from it.

    Args:
        folder: holds `encoder.onnx`, `decoder.onnx`, `plan.onnx` if the decoder words a plan, and
            `text.onnx`, which is read when a sentence is first embedded.
        sizes: the expected sizes.
        fingerprints: of the words, tags and front end that the networks belong to.

    Raises:
        AuricleError: a network is missing, cannot be run, or does not fit the others.
    """

    def __init__(
        self, folder: Path, sizes: Sizes, fingerprints: Fingerprints = UNKNOWN_FINGERPRINTS
    ) -> None:
        self._folder, self._sizes, self._fingerprints = folder, sizes, fingerprints
        names = ["encoder.onnx", "decoder.onnx", *(["plan.onnx"] if sizes.plan else [])]
        paths = [folder / name for name in names]
        with ThreadPoolExecutor(len(paths)) as pool:  # loading them is a third of a cold start
            sessions = list(pool.map(_load, paths, (True, False, False)))
        self._encoder, self._decoder = sessions[:2]
        self._plan = sessions[2] if sizes.plan else None
        _check_encoder(paths[0], self._encoder, sizes)
        if self._plan is not None:
            _check_plan(paths[2], self._plan)
        _check_decoder(paths[1], self._decoder, self._plan or self._encoder, sizes)
        for path, network in zip(paths, sessions, strict=True):
            _check_fingerprints(path, network, fingerprints)
        self._outputs = [output.name for output in self._encoder.get_outputs()]
        self._text: onnxruntime.InferenceSession | None = None
        self._text_lock = Lock()

    def hear(self, log_mel: np.ndarray) -> EncodedSound:
        """Encodes a sound: (frames, mels) float32 -> memory or frames, tags and embedding."""
        values = _run(self._encoder, self._outputs, {"log_mel": log_mel[None]})
        _require(all(np.isfinite(value).all() for value in values))
        outputs = dict(zip(self._outputs, values, strict=True))
        memory = None
        if not self._sizes.plan:
            memory = Memory(outputs["memory_keys"], outputs["memory_values"])

        def only(name: str) -> np.ndarray | None:
            return outputs[name][0] if name in outputs else None

        return EncodedSound(
            memory,
            only("frames"),
            only("tags"),
            only("sound_embedding"),
            self._sizes.tag_tokens,
            log_mel if self._sizes.plan else None,
        )

    def remember_plan(self, events: np.ndarray, whole: np.ndarray) -> Memory:
        """Returns a plan as the decoder gets it.

        Args:
            events: (1, events, 3) int64, the class, repetition and trend of each event.
            whole: (1, 2) int64, the relation of the events and the manner of the caption.
        """
        assert self._plan is not None
        inputs = {"events": events, "whole": whole}
        return Memory(*_run(self._plan, ["memory_keys", "memory_values"], inputs))

    def next_log_probs(self, memory: Memory) -> NextLogProbs:
        """The function that the beam search calls to caption one sound or plan."""
        step = self._steps(memory)
        return lambda tokens, parents: step(tokens, parents)[0]

    def attention(self, memory: Memory, tokens: Sequence[int]) -> np.ndarray:
        """The decoder's attention at each of these words: (words, positions), rows sum to 1."""
        step, parents = self._steps(memory), np.zeros(1, np.int64)
        rows = [step(np.array([token]), parents)[1] for token in (SOS, *tokens[:-1])]
        return np.concatenate(rows)

    def embed_sentences(self, sentences: Sequence[Sequence[int]]) -> np.ndarray:
        """The embeddings of sentences.

        Args:
            sentences: the numbers of the known words of each; a sentence without any counts as one
                unknown word.

        Returns:
            (sentences, space), each of length 1.
        """
        with self._text_lock:
            if self._text is None:
                path = self._folder / "text.onnx"
                text = _load(path)
                outputs = {"sentence_embedding": (None, self._sizes.space)}
                _check(path, text, {"tokens": (None, None)}, outputs)
                _check_fingerprints(path, text, self._fingerprints)
                self._text = text
        tokens = np.full((len(sentences), max([1, *map(len, sentences)])), PAD)
        for row, numbers in zip(tokens, sentences, strict=True):
            row[: len(numbers) or 1] = numbers or [UNKNOWN]
        return _run(self._text, ["sentence_embedding"], {"tokens": tokens})[0]

    def _steps(
        self, memory: Memory
    ) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """As `NextLogProbs`, with the attention of each hypothesis: (rows, positions)."""
        layers, _, heads, _, size = memory.keys.shape
        past_keys = past_values = np.zeros((layers, 1, heads, 0, size), np.float32)

        def step(tokens: np.ndarray, parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            nonlocal past_keys, past_values
            inputs = {
                "tokens": tokens,
                "parents": parents,
                "past_keys": past_keys,
                "past_values": past_values,
                "memory_keys": memory.keys,
                "memory_values": memory.values,
            }
            outputs = ["log_probs", "keys", "values", "attention"]
            log_probs, past_keys, past_values, attention = _run(self._decoder, outputs, inputs)
            _require(not np.isnan(log_probs).any())
            return log_probs, attention

        return step


def _run(
    session: onnxruntime.InferenceSession, outputs: list[str], inputs: dict[str, np.ndarray]
) -> list[np.ndarray]:
    try:
        # ONNX has outputs of other kinds too; ours are all tensors.
        return cast("list[np.ndarray]", session.run(outputs, inputs))
    except Exception as error:  # ONNX Runtime's errors have no common base
        if "Failed to allocate memory" in str(error):
            raise MemoryError from None
        raise AuricleError(f"the model fails: {str(error).splitlines()[0]}") from None


def _require(finite: bool) -> None:
    """Refuses the output of damaged weights: no score and no JSON could express it."""
    if not finite:
        raise AuricleError(
            "the model gives numbers that are not finite: its weights are damaged; "
            "export or fetch it again"
        )


def _load(path: Path, large: bool = False) -> onnxruntime.InferenceSession:
    """A network, ready to run; a large one on a GPU, where there is one.

    A checkpoint may come from a stranger. An ONNX file can name other files, which ONNX Runtime
    would read; ours name none, and a file that could is refused. The bytes that were checked are
    the bytes that run, so the file is read once.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        content = path.read_bytes()
        if EXTERNAL in content:
            raise AuricleError(f"{path} keeps tensors in other files: export it without them")
        gpu = large and CUDA[0] in onnxruntime.get_available_providers()
        return onnxruntime.InferenceSession(
            content, options, providers=[CUDA, CPU] if gpu else [CPU]
        )
    except AuricleError:
        raise
    except FileNotFoundError:
        weights = path.with_name("model.safetensors")
        advice = f": `auricle export {path.parent}` makes it" if weights.exists() else ""
        raise AuricleError(f"{path} cannot be run: it is missing{advice}") from None
    except Exception as error:  # ONNX Runtime's errors have no common base
        raise AuricleError(f"{path} cannot be run: {str(error).splitlines()[0]}") from None


def _check_fingerprints(
    path: Path, session: onnxruntime.InferenceSession, expected: Fingerprints
) -> None:
    """Refuses a network that was exported with other words, tags or features."""
    metadata = session.get_modelmeta().custom_metadata_map
    found = Fingerprints.of_metadata(metadata, str(path))
    if differing := found.differing(expected):
        raise AuricleError(
            f"{path} does not fit: {', '.join(differing)} differ from those of the folder: "
            f"{ONE_CAPTIONER}"
        )


def _check_encoder(path: Path, encoder: onnxruntime.InferenceSession, sizes: Sizes) -> None:
    """Refuses an encoder that does not fit the folder."""
    outputs: dict[str, Shape] = {"memory_keys": MEMORY, "memory_values": MEMORY}
    if sizes.plan:
        outputs = {"frames": (None, None, None)}
    if sizes.space:
        outputs["sound_embedding"] = (None, sizes.space)
    if sizes.plan or any(output.name == "tags" for output in encoder.get_outputs()):
        outputs["tags"] = (None, sizes.tags)
    _check(path, encoder, {"log_mel": (None, None, sizes.mels)}, outputs)


def _check_plan(path: Path, plan: onnxruntime.InferenceSession) -> None:
    """Refuses a network that does not make memory of plans."""
    outputs: dict[str, Shape] = {"memory_keys": MEMORY, "memory_values": MEMORY}
    _check(path, plan, {"events": (None, None, 3), "whole": (None, 2)}, outputs)


def _check_decoder(
    path: Path,
    decoder: onnxruntime.InferenceSession,
    remembers: onnxruntime.InferenceSession,
    sizes: Sizes,
) -> None:
    """Refuses a decoder that does not fit the folder or the network that makes its memory."""
    names = ("memory_keys", "memory_values")
    shapes = {output.name: output.shape for output in remembers.get_outputs()}
    memory = {
        name: tuple(size if isinstance(size, int) else None for size in shapes[name])
        for name in names
    }
    past = {"past_keys": MEMORY, "past_values": MEMORY}
    inputs = {"tokens": (None,), "parents": (None,), **past, **memory}
    outputs: dict[str, Shape] = {
        "log_probs": (None, sizes.words),
        "keys": MEMORY,
        "values": MEMORY,
        "attention": (None, None),
    }
    _check(path, decoder, inputs, outputs)


def _check(
    path: Path,
    session: onnxruntime.InferenceSession,
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
) -> None:
    """Refuses a network with other inputs than these, or without one of these outputs."""
    if unknown := {value.name for value in session.get_inputs()} - inputs.keys():
        raise AuricleError(f"{path} does not fit: its input {min(unknown)} is unknown")
    pairs = ((inputs, session.get_inputs()), (outputs, session.get_outputs()))
    for expected, found in pairs:
        values = {value.name: value for value in found}
        for name, shape in expected.items():
            if name not in values:
                raise AuricleError(f"{path} does not fit: it has no {name}")
            _check_shape(path, name, shape, values[name].shape)
            kind = "tensor(int64)" if name in NUMBERS else "tensor(float)"
            if values[name].type != kind:
                raise AuricleError(
                    f"{path} does not fit: {name} is a {values[name].type}, expected a {kind}"
                )


def _check_shape(path: Path, name: str, expected: Shape, found: Sequence[object]) -> None:
    same = len(expected) == len(found) and all(
        size in (None, other) for size, other in zip(expected, found, strict=True)
    )
    if not same:
        shown = [
            " x ".join("*" if size is None else str(size) for size in shape)
            for shape in (found, expected)
        ]
        raise AuricleError(f"{path} does not fit: {name} is {shown[0]}, expected {shown[1]}")
