"""Topics of rows, and their discovery by Home Assistant; no broker is needed."""

import json
import re

import pytest

from auricle.alerts.home_assistant import (
    StreamTopics,
    alert_state,
    availability_topic,
    discovery_topics,
    topic_level,
    topics_of_client,
)
from auricle.alerts.watch import WatchedSound

SOUNDS = (WatchedSound("glass breaking"), WatchedSound("thunder, a gunshot or an explosion"))
NAMES = ("front door", "front-door", "Front Door", "front/door", "Tür", "tur", "+", "#", "猫", "犬")


def test_names_become_levels_of_topics_that_stay_different():
    levels = [topic_level(name) for name in NAMES]
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]*", level) for level in levels)
    assert levels[0] == "front-door"
    assert topic_level("kitchen-pi") == "kitchen-pi"
    spelled_alike = {"front door", "front-door", "Front Door"}  # the same to a person, too
    assert len(set(levels)) == len(set(NAMES) - spelled_alike) + 1


def test_a_stream_has_topics_of_its_own():
    alone, one = StreamTopics("pi", None), StreamTopics("pi", "front door")
    assert (alone.event, one.event) == ("auricle/pi/event", "auricle/pi/front-door/event")
    assert one.source == "auricle/pi/front-door/source"
    assert one.alert("glass breaking") == "auricle/pi/front-door/alert/glass-breaking"
    assert availability_topic("pi") == "auricle/pi/availability"


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic fits a pattern of MQTT."""
    levels = pattern.replace("+", "[^/]+").replace("#", ".+")
    return re.fullmatch(levels, topic) is not None


@pytest.mark.parametrize("stream", [None, "front door"])
def test_home_assistant_learns_of_a_sensor_for_captions_and_one_for_each_alert(stream: str | None):
    topics = StreamTopics("pi", stream, SOUNDS)
    described = {name: json.loads(payload) for name, payload in topics.descriptions("0.1").items()}
    assert [name.split("/")[1] for name in described] == ["sensor", *["binary_sensor"] * 2]
    for name, sensor in described.items():
        assert matches(discovery_topics("pi"), name)
        assert re.fullmatch(r"homeassistant/\w+/[\w-]+/[\w-]+/config", name)
        assert matches(topics_of_client("pi"), sensor["state_topic"])
        assert [entry["topic"] for entry in sensor["availability"]] == [
            "auricle/pi/availability",
            topics.source,
        ]
        assert sensor["availability_mode"] == "all"
        assert sensor["device"]["name"] == (stream or "pi")
    assert len({sensor["unique_id"] for sensor in described.values()}) == 3
    caption, *alerts = described.values()
    assert caption["state_topic"] == caption["json_attributes_topic"] == topics.event
    for sound, alert in zip(SOUNDS, alerts, strict=True):
        assert alert["name"] == sound.sentence
        assert alert["state_topic"] == topics.alert(sound.sentence)


def test_templates_read_what_is_published():
    jinja2 = pytest.importorskip("jinja2", reason="Home Assistant's templates are Jinja's")
    rows = StreamTopics("pi", None, SOUNDS[:1]).descriptions("0.1").values()
    caption, alert = map(json.loads, rows)
    environment = jinja2.Environment()

    def state(sensor: dict[str, str], key: str, payload: str) -> str:
        return environment.from_string(sensor[key]).render(value_json=json.loads(payload))

    row = {"state": "alert", "alert": "glass breaking", "score": 0.9}
    assert state(alert, "value_template", alert_state(True, row)) == "ON"
    assert state(alert, "value_template", alert_state(False, row)) == "OFF"
    assert json.loads(state(alert, "json_attributes_template", alert_state(True, row))) == row
    assert json.loads(state(alert, "json_attributes_template", alert_state(False, None))) == {}
    long = json.dumps({"caption": "a" * 300})
    assert state(caption, "value_template", long) == "a" * 255
