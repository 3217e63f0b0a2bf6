"""The cost of other captioners' architectures, at random weights: time, memory, arithmetic.

    OMP_NUM_THREADS=1 python benchmarks/peers.py whisper-tiny 10

prints one line of JSON. `benchmarks/inference.py` runs it, each network in a process of its own.
Words are no part of it: every decoder takes the same number of steps over the same number of
hypotheses, with a cache, and no search chooses among them.
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    ClapAudioConfig,
    ClapAudioModel,
    ConvNextConfig,
    ConvNextModel,
    WhisperConfig,
    WhisperModel,
)

from auricle.models.decoder import TransformerDecoder

BEAM = 4
STEPS = 12  # words of a caption, and its end
REPEATS = 5
WORDS = 5_000  # of a captioner's vocabulary
WHISPER = {
    "whisper-tiny": (384, 4, 6),
    "whisper-base": (512, 6, 8),
    "whisper-small": (768, 12, 12),
}  # width, layers, heads


class Whisper(nn.Module):
    """Radford et al. 2022: what captions through Whisper pads every sound to 30 s."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        config = WhisperConfig(
            d_model=width,
            encoder_layers=layers,
            decoder_layers=layers,
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_ffn_dim=4 * width,
            decoder_ffn_dim=4 * width,
        )
        self.model = WhisperModel(config)

    def forward(self, seconds: float) -> None:  # noqa: ARG002 - it is padded to 30
        """Hears and says `STEPS` words."""
        memory = self.model.encoder(torch.zeros(1, 80, 3000)).last_hidden_state.expand(BEAM, -1, -1)
        tokens, cache = torch.full((BEAM, 1), 5), None
        for _ in range(STEPS):
            out = self.model.decoder(
                tokens, encoder_hidden_states=memory, past_key_values=cache, use_cache=True
            )
            cache = out.past_key_values
            functional.linear(out.last_hidden_state, self.model.decoder.embed_tokens.weight)


class Tower(nn.Module):
    """An image encoder on the log-mel spectrogram, and CoNeTTE's Transformer decoder of 6 layers.

    Args:
        network: (1, 1, frames, mels) -> `last_hidden_state`, (1, 768, ..., ...).
        frequencies: which of its axes are frequencies.
        mels: of the spectrogram.
        frames: of a second of it.
        fixed: seconds that every sound is padded or cut to; 0: none.
    """

    def __init__(
        self, network: nn.Module, frequencies: int, mels: int, frames: float, fixed: float = 0
    ) -> None:
        super().__init__()
        self.network, self.frequencies, self.mels, self.frames, self.fixed = (
            network,
            frequencies,
            mels,
            frames,
            fixed,
        )
        self.bridge = nn.Linear(768, 256)
        self.decoder = TransformerDecoder(WORDS, 256, 6, 8, 2048, 0.0)

    def forward(self, seconds: float) -> None:
        """Hears and says `STEPS` words."""
        log_mel = torch.zeros(1, 1, round((self.fixed or seconds) * self.frames), self.mels)
        features = self.network(log_mel).last_hidden_state.mean(self.frequencies).transpose(1, 2)
        state = self.decoder.begin(self.bridge(features))
        for step in range(STEPS):
            rows = torch.full((BEAM,), 5)
            parents = torch.arange(BEAM) if step else torch.zeros(BEAM, dtype=torch.int64)
            _, state, _ = self.decoder.step(rows, parents, state)


def build(name: str) -> nn.Module:
    """A network by its name, at random weights."""
    if name in WHISPER:
        return Whisper(*WHISPER[name])
    if name == "convnext-tiny":  # Labbé et al. 2023, CoNeTTE
        return Tower(ConvNextModel(ConvNextConfig(num_channels=1)), 3, 224, 100.0)
    if name == "htsat":  # Chen et al. 2022, as in CLAP: a Swin transformer over 10 s
        return Tower(ClapAudioModel(ClapAudioConfig()), 2, 64, 100.1, fixed=10.0)
    choices = ", ".join((*WHISPER, "convnext-tiny", "htsat"))
    sys.exit(f"unknown model {name}: choose one of {choices}")


def peak_megabytes() -> float:
    """Of this process; what `getrusage` tells has that of the process in it that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main(name: str, seconds: float) -> None:
    """Prints what a caption costs on one thread."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        model = build(name).eval()
        with FlopCounterMode(display=False) as counter:
            model(seconds)
        times = []
        for _ in range(REPEATS):
            began = time.thread_time()
            model(seconds)
            times.append(time.thread_time() - began)
    found = {
        "name": name,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "operations": counter.get_total_flops(),
        "seconds": min(times),
        "megabytes": peak_megabytes(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
