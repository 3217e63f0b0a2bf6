"""A small part of the soak; `python tests/soak/run.py` is the whole."""

from pathlib import Path

import pytest
from media import MUTATIONS, mutant, run_media, sources

pytest.importorskip("safetensors", reason="some tasks are trainings: pip install 'auricle[train]'")

from kills import run_campaign


def test_mutated_media_give_a_caption_or_one_line(tmp_path: Path):
    outcomes = list(
        run_media(
            seed=1, files=4 * len(MUTATIONS), work_folder=tmp_path / "media", jobs=1, hours=False
        )
    )
    assert {name: o.failure for name, _, o in outcomes if o.failure} == {}
    said = {outcome.said for _, _, outcome in outcomes}
    assert said == {"caption", "refused"}, "mutations neither too mild nor too wild"


def test_a_mutant_is_made_again_by_its_number(tmp_path: Path):
    media = sources(tmp_path)
    again = [mutant(3, number, media, []) for number in range(20)]
    assert again == [mutant(3, number, media, []) for number in range(20)]
    assert len({made.content for _, made in again}) > 15


def test_killed_commands_end_as_if_they_had_not_been(tmp_path: Path):
    records = list(run_campaign(["download", "feature cache", "caption"], 6, 0, tmp_path))
    assert [record.failures for record in records] == [[], [], []]
    assert sum(record.kills for record in records) >= 3
