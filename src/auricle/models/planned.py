"""The captioner that separates selection from wording.

    log-mel -> encoder -> tags, probe -> classes ..> selection ..> plan -> decoder -> words
                      └-> shared space of sounds and sentences

Selection is not a network: see `auricle.captioning.selection`.
"""

import torch
from torch import Tensor, nn

from auricle.checkpoint.config import DecoderConfig, EncoderConfig
from auricle.models.contrastive import SharedSpace
from auricle.models.encoder import Tagger, build_encoder, frame_mask
from auricle.models.plan_decoder import PlanDecoder
from auricle.models.probe import Probe


class PlannedCaptioner(nn.Module):
    """Encoder with tags, probe and shared space, and a decoder that words a plan.

    Args:
        encoder: the encoder; it gives tags.
        decoder: sizes of the decoder.
        words: size of the vocabulary.
        space: size of the pre-encoder's space of sounds and sentences.
        targets: the number of the probe's targets.
        untagged: the number of classes without a tag.
    """

    def __init__(
        self,
        encoder: EncoderConfig,
        decoder: DecoderConfig,
        words: int,
        space: int,
        targets: int,
        untagged: int,
    ) -> None:
        super().__init__()
        built = build_encoder(encoder)
        assert isinstance(built, Tagger)
        self.encoder = built
        self.probe = Probe(built.size, targets, untagged)
        self.space = SharedSpace(built.size, words, decoder.width, space, tags=True)
        self.wording = PlanDecoder(decoder, words, self.probe.targets.shape[1])

    def hear(self, log_mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encodes sounds of equal length.

        Args:
            log_mel: (batch, frames, mels).

        Returns:
            Frame features (batch, ceil(frames / 32), size), the probabilities of the classes,
            (batch, classes), and embeddings in the shared space, (batch, space), of length 1.
        """
        features = self.encoder(log_mel)
        counts = torch.full((len(features),), features.shape[1])
        clips = self.encoder.embed(features, frame_mask(counts, features.shape[1]))
        tags = self.encoder.tags(features, frame_mask(counts, features.shape[1]))
        classes = self.probe(clips, tags).sigmoid()
        return features, classes, self.space.embed_sound(clips, tags.sigmoid())
