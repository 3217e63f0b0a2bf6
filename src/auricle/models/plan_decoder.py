"""The plan decoder: a Transformer decoder whose memory holds only a plan."""

import torch
from torch import Tensor, nn

from auricle.checkpoint.config import DecoderConfig
from auricle.models.decoder import TransformerDecoder
from auricle.models.decoder_state import DecoderState
from auricle.planning.language import MANNERS
from auricle.planning.plans import MOST_EVENTS, Relation, Repetition, Trend


class PlanTokens(nn.Module):
    """Turns a plan into tokens of memory: one for the whole plan, and one for each event.

    In training, the memory also holds the source and length of each caption (its manner), so that
    captioning can choose both.

    Args:
        classes: the number of classes of sounds.
        width: the width of the memory.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes = nn.Embedding(classes, width)
        self.roles = nn.Embedding(MOST_EVENTS, width)
        self.repetitions = nn.Embedding(len(Repetition), width)
        self.trends = nn.Embedding(len(Trend), width)
        self.relations = nn.Embedding(len(Relation), width)
        self.manners = nn.Embedding(MANNERS, width)

    def forward(self, events: Tensor, whole: Tensor) -> Tensor:
        """Returns the memory of plans.

        Args:
            events: (batch, events, 3), the class, repetition and trend of each event, padded at
                the end.
            whole: (batch, 2), relation and manner.

        Returns:
            (batch, 1 + events, width).
        """
        classes, repetitions, trends = events.unbind(2)
        roles = torch.arange(events.shape[1], device=events.device)
        tokens = self.classes(classes) + self.repetitions(repetitions) + self.trends(trends)
        tokens = tokens + self.roles(roles)
        first = self.relations(whole[:, 0]) + self.manners(whole[:, 1])
        return torch.cat([first[:, None], tokens], 1)


class PlanDecoder(nn.Module):
    """Words plans.

    Args:
        config: the sizes of the decoder.
        words: size of the vocabulary.
        classes: the number of classes of sounds.
    """

    def __init__(self, config: DecoderConfig, words: int, classes: int) -> None:
        super().__init__()
        self.plan = PlanTokens(classes, config.width)
        self.decoder = TransformerDecoder(
            words,
            config.width,
            config.layers,
            config.heads,
            config.feedforward,
            config.dropout,
            tied=True,
        )

    def forward(self, events: Tensor, mask: Tensor, whole: Tensor, tokens: Tensor) -> Tensor:
        """Returns the logits of the word after each word.

        Args:
            events: (batch, events, 3), class, repetition and trend, padded at the end.
            mask: (batch, events), true where there is an event.
            whole: (batch, 2), relation and manner.
            tokens: (batch, length), from `<sos>` on, padded at the end.

        Returns:
            (batch, length, words).
        """
        memory = self.plan(events, whole)
        memory_mask = torch.cat([torch.ones_like(mask[:, :1]), mask], 1)
        return self.decoder(self.decoder.embed(tokens), memory, memory_mask)

    def begin(self, events: Tensor, whole: Tensor) -> DecoderState:
        """Returns the decoder's state before the first word of plans without padding."""
        return self.decoder.begin(self.plan(events, whole))
