"""The baseline's Transformer equals BART as transformers has it, tensor by tensor, and is as
large."""

import re
from typing import Any

import pytest

pytest.importorskip("torch", reason="networks run on torch: pip install 'auricle[train]'")

import torch

from auricle.models.bart import BartEncoder
from auricle.models.decoder import TransformerDecoder

WORDS, WIDTH, LAYERS, HEADS, FEEDFORWARD = 50, 24, 3, 4, 40
# Their names of the parts, and ours.
NAMES = (
    (r"encoder_attn\.", "cross_attention."),
    (r"self_attn_layer_norm", "norms.0"),
    (r"encoder_attn_layer_norm", "norms.1"),
    (r"final_layer_norm", "norms.2"),
    (r"self_attn\.", "self_attention."),
    (r"([qkv])_proj", lambda m: {"q": "query", "k": "key", "v": "value"}[m[1]]),
    (r"out_proj", "output"),
    (r"fc1", "feedforward.0"),
    (r"fc2", "feedforward.3"),
    (r"embed_positions", "positions.vectors"),
    (r"layernorm_embedding", "positions.norm"),
    (r"embed_tokens", "embedding"),
)


def ours(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict of transformers' under our names."""
    renamed = {}
    for name, tensor in state.items():
        for theirs, our_name in NAMES:
            name = re.sub(theirs, our_name, name)
        renamed[name] = tensor
    return renamed


def of_encoder(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The encoder's layers have two norms and one attention, which we call by what they are for."""
    swaps = (
        ("self_attention", "attention"),
        ("norms.0", "attention_norm"),
        ("norms.2", "feedforward_norm"),
    )
    renamed = {}
    for name, tensor in ours(state).items():
        for theirs, our_name in swaps:
            name = name.replace(theirs, our_name)
        renamed[name] = tensor
    return {name: tensor for name, tensor in renamed.items() if not name.startswith("embedding")}


@pytest.fixture(scope="module")
def bart() -> Any:
    # Importing it takes seconds, which only the process that needs it spends.
    transformers = pytest.importorskip(
        "transformers", reason="BART is transformers': pip install 'auricle[sentences]'"
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.BartConfig(
            vocab_size=WORDS,
            d_model=WIDTH,
            encoder_layers=LAYERS,
            decoder_layers=LAYERS,
            encoder_attention_heads=HEADS,
            decoder_attention_heads=HEADS,
            encoder_ffn_dim=FEEDFORWARD,
            decoder_ffn_dim=FEEDFORWARD,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
            init_std=0.2,
        )
        return transformers.BartForConditionalGeneration(config).eval().requires_grad_(False)


def test_equals_bart(bart: Any):
    encoder = BartEncoder(WIDTH, LAYERS, HEADS, FEEDFORWARD, 0.1).eval().requires_grad_(False)
    encoder.load_state_dict(of_encoder(bart.model.encoder.state_dict()), strict=True)
    decoder = (
        TransformerDecoder(WORDS, WIDTH, LAYERS, HEADS, FEEDFORWARD, 0.1, bart=True)
        .eval()
        .requires_grad_(False)
    )
    decoder.load_state_dict(ours(bart.model.decoder.state_dict()), strict=True)
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 7, WIDTH, generator=generator)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    tokens = torch.randint(3, WORDS, (2, 9), generator=generator)
    heard = bart.model.encoder(inputs_embeds=frames, attention_mask=mask.int()).last_hidden_state
    memory = encoder(frames, mask)
    torch.testing.assert_close(memory[mask], heard[mask], rtol=1e-4, atol=1e-5)
    theirs = bart(
        encoder_outputs=[heard], attention_mask=mask.int(), decoder_input_ids=tokens
    ).logits
    torch.testing.assert_close(
        decoder(decoder.embed(tokens), memory, mask), theirs, rtol=1e-4, atol=1e-4
    )


def test_has_the_baselines_size():
    """139.4 million parameters: those of facebook/bart-base."""
    with torch.device("meta"):
        encoder = BartEncoder(768, 6, 12, 3072, 0.1)
        decoder = TransformerDecoder(50_265, 768, 6, 12, 3072, 0.1, bart=True)
    parameters = [parameter for module in (encoder, decoder) for parameter in module.parameters()]
    assert sum(parameter.numel() for parameter in parameters) == 139_420_416
