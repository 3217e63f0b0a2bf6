"""Topics of the rows of a stream, and their descriptions for Home Assistant's MQTT discovery.

    auricle/CLIENT/availability           "online" or "offline", of the process
    auricle/CLIENT[/STREAM]/source        "online" or "offline", of the microphone or the camera
    auricle/CLIENT[/STREAM]/event         the last row of an event
    auricle/CLIENT[/STREAM]/alert/SOUND   whether the alert is on, and its last row
    homeassistant/...                     a description of each sensor

All of them are retained, so a subscriber that starts later gets the current state.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from auricle.alerts.watch import WatchedSound

ONLINE, OFFLINE = "online", "offline"
DISCOVERY = "homeassistant"  # the prefix that Home Assistant listens to
MOST_STATE_CHARACTERS = 255  # of a state in Home Assistant


def topic_level(name: str) -> str:
    """Returns a name as a level of a topic, of the characters a to z, 0 to 9 and -.

    Different names stay different: where characters were lost, a part of the name's hash follows.
    """
    plain = unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode()
    level = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if level.replace("-", " ") == name.lower() or level == name.lower():
        return level
    return f"{level}-{hashlib.sha256(name.encode()).hexdigest()[:6]}".lstrip("-")


@dataclass(frozen=True)
class StreamTopics:
    """The topics of a stream."""

    client: str  # the name of this process, unique at the broker
    stream: str | None  # None where it is the only one of the process
    sounds: Sequence[WatchedSound] = ()

    @property
    def source(self) -> str:
        """The topic that tells whether the source gives sound."""
        return f"{self._prefix}/source"

    @property
    def event(self) -> str:
        """The topic of the rows of events."""
        return f"{self._prefix}/event"

    def alert(self, sentence: str) -> str:
        """Returns the topic of an alert."""
        return f"{self._prefix}/alert/{topic_level(sentence)}"

    @property
    def _prefix(self) -> str:
        stream_levels = [] if self.stream is None else [topic_level(self.stream)]
        return "/".join(["auricle", topic_level(self.client), *stream_levels])

    def descriptions(self, version: str) -> dict[str, str]:
        """Returns the discovery topics, with a JSON description of each sensor.

        Args:
            version: of auricle.
        """
        shared = {
            "availability": [
                {"topic": availability_topic(self.client)},
                {"topic": self.source},
            ],
            "availability_mode": "all",
            "device": {
                "identifiers": [self._prefix.replace("/", "_")],
                "name": self.client if self.stream is None else self.stream,
                "manufacturer": "auricle",
                "model": "auricle listen",
                "sw_version": version,
            },
            "origin": {"name": "auricle", "sw_version": version},
        }
        caption = {
            "name": "Last caption",
            "icon": "mdi:ear-hearing",
            "state_topic": self.event,
            "value_template": f"{{{{ value_json.caption[:{MOST_STATE_CHARACTERS}] }}}}",
            "json_attributes_topic": self.event,
        }
        sensors = [("sensor", self.event, caption)]
        for sound in self.sounds:
            topic = self.alert(sound.sentence)
            alert = {
                "name": sound.sentence,
                "device_class": "sound",
                "state_topic": topic,
                "value_template": "{{ 'ON' if value_json.on else 'OFF' }}",
                "json_attributes_topic": topic,
                "json_attributes_template": "{{ (value_json.last or {}) | tojson }}",
            }
            sensors.append(("binary_sensor", topic, alert))
        descriptions = {}
        for kind, topic, sensor in sensors:
            unique = topic.replace("/", "_")
            described = {"unique_id": unique, **sensor, **shared}
            name = _discovery_topic(kind, self.client, unique)
            descriptions[name] = json.dumps(described, ensure_ascii=False)
        return descriptions


def availability_topic(client: str) -> str:
    """Returns the topic that tells whether the process is there."""
    return f"auricle/{topic_level(client)}/availability"


def topics_of_client(client: str) -> str:
    """Returns the pattern of all topics of a process but the discovery topics."""
    return f"auricle/{topic_level(client)}/#"


def discovery_topics(client: str) -> str:
    """Returns the pattern of the discovery topics of a process."""
    return _discovery_topic("+", client, "+")


def _discovery_topic(kind: str, client: str, sensor: str) -> str:
    return f"{DISCOVERY}/{kind}/auricle-{topic_level(client)}/{sensor}/config"


def alert_state(on: bool, row: Mapping[str, object] | None) -> str:
    """Returns the state of an alert as JSON.

    Args:
        on: whether it was raised, and its hold-off is not over.
        row: the last alert, as `auricle listen --format jsonl` gives it; None before the first.
    """
    return json.dumps({"on": on, "last": row}, ensure_ascii=False)
