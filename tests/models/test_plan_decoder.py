"""The plan decoder: its memory tells everything of a plan, and rows do not mix."""

import pytest

pytest.importorskip("torch", reason="networks run on torch: pip install 'auricle[train]'")

import torch

from auricle.checkpoint.config import DecoderConfig
from auricle.checkpoint.vocabulary import SOS
from auricle.models.plan_decoder import PlanDecoder
from auricle.planning.plans import Plan, PlannedEvent, Relation, Repetition, Trend, plan_arrays

FIRST, SECOND = PlannedEvent(3), PlannedEvent(4)
PLAN = Plan((FIRST, SECOND), Relation.WHILE)


@pytest.fixture(scope="module")
def model() -> PlanDecoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = DecoderConfig(width=16, layers=2, heads=2, feedforward=32, dropout=0.1, plan=True)
        return PlanDecoder(config, 50, 8).eval().requires_grad_(False)


def first_word(model: PlanDecoder, plan: Plan, manner: int) -> torch.Tensor:
    """Log-probabilities of the first word, (1, words)."""
    state = model.begin(*map(torch.from_numpy, plan_arrays(plan, manner)))
    return model.decoder.step(torch.tensor([SOS]), torch.tensor([0]), state)[0]


def test_padding_and_other_rows_change_nothing(model: PlanDecoder):
    events = torch.tensor([[[1, 2, 0], [0, 0, 0]], [[5, 0, 1], [7, 0, 0]]])
    mask = torch.tensor([[True, False], [True, True]])
    whole = torch.tensor([[0, 1], [1, 5]])
    tokens = torch.tensor([[1, 6, 7, 0], [1, 9, 10, 11]])
    together = model(events, mask, whole, tokens)
    alone = model(events[:1, :1], mask[:1, :1], whole[:1], tokens[:1, :3])
    torch.testing.assert_close(together[:1, :3], alone)


@pytest.mark.parametrize(
    ("plan", "manner"),
    [
        (Plan((SECOND, FIRST), Relation.WHILE), 0),
        (Plan((FIRST, SECOND), Relation.THEN), 0),
        (Plan((PlannedEvent(3, Repetition.TWICE), SECOND), Relation.WHILE), 0),
        (Plan((FIRST, PlannedEvent(4, trend=Trend.FADING)), Relation.WHILE), 0),
        (Plan((FIRST, PlannedEvent(5)), Relation.WHILE), 0),
        (PLAN, 1),
    ],
)
def test_every_part_of_a_plan_changes_the_words(model: PlanDecoder, plan: Plan, manner: int):
    difference = first_word(model, plan, manner) - first_word(model, PLAN, 0)
    assert difference.abs().max() > 1e-4


def test_captioning_sees_the_memory_that_training_sees(model: PlanDecoder):
    events, whole = map(torch.from_numpy, plan_arrays(PLAN, 2))
    tokens, mask = torch.tensor([[SOS, 6, 7]]), torch.ones(1, 2, dtype=torch.bool)
    expected = model(events, mask, whole, tokens).log_softmax(2)
    state = model.begin(events, whole)
    for place in range(tokens.shape[1]):
        log_probs, state, _ = model.decoder.step(tokens[:, place], torch.tensor([0]), state)
        torch.testing.assert_close(log_probs, expected[:, place], rtol=1e-4, atol=1e-5)
