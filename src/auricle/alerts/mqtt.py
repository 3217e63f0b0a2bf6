"""Publishes rows to an MQTT broker, and keeps them while it is away.

    row ──> Delivery: kept in order ──> its thread: publish, wait for the broker's answer
                                        paho's thread: connect, and connect again

A broker that is away delays neither listening nor the other receivers.
"""

import contextlib
import json
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from auricle.alerts.actions import LAST_DELIVERY_SECONDS
from auricle.alerts.broker import Broker
from auricle.alerts.delivery import Delivery, Fields, Say
from auricle.alerts.home_assistant import (
    OFFLINE,
    ONLINE,
    StreamTopics,
    alert_state,
    availability_topic,
    discovery_topics,
    topics_of_client,
)

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

MOST_WAITING_MESSAGES = 1000  # messages, about a megabyte
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 1, 60  # until the next try to connect, doubled each time
KEEP_ALIVE_SECONDS = 30  # a broker that is silent for longer is lost
GOODBYE_SECONDS = 2.0  # for the last message, that the process ends
# A sound that goes on raises an alert after each hold-off. The next one must come before the sensor
# goes off.
OFF_DELAY_SECONDS = 1.0


class Publisher:
    """Publishes rows, the state of sources and alerts, and descriptions for Home Assistant.

    Messages are published in order, each once the broker has confirmed the one before it.

    Args:
        broker: where to.
        streams: the topics of each stream, by its name.
        say: takes messages about the broker, and about lost rows.
    """

    def __init__(
        self, broker: Broker, streams: Mapping[str | None, StreamTopics], say: Say
    ) -> None:
        self._broker, self._streams, self._say = broker, streams, say
        self._problem: str | None = None  # the last one that was told
        self._refused = False  # by the last answer
        self._ready = threading.Event()  # connected, and the retained messages are published
        self._answered = threading.Condition()
        self._confirmed: set[int] = set()  # numbers of messages
        self._states: dict[str, str] = {}  # the current payload of each topic but events
        self._on: dict[str, Fields] = {}  # the last row of each alert that is on
        self._switching = threading.Lock()
        self._descriptions: dict[str, str] = {}
        for topics in streams.values():
            self._descriptions |= topics.descriptions(version("auricle"))
            self._states[topics.source] = OFFLINE
            for sound in topics.sounds:
                self._states[topics.alert(sound.sentence)] = alert_state(False, None)
        self._topics = {
            *self._descriptions,
            *self._states,
            *(topics.event for topics in streams.values()),
            availability_topic(broker.client),
        }
        self._client = self._new_client()
        self._delivery = Delivery(
            broker.shown, self._deliver, say, most_kept=MOST_WAITING_MESSAGES, counted=True
        )
        self._client.connect_async(broker.host, broker.port, KEEP_ALIVE_SECONDS)
        self._client.loop_start()

    def row(self, stream: str | None, fields: Fields) -> None:
        """Takes a row, as `auricle listen --format jsonl` gives it; returns at once."""
        topics = self._streams[stream]
        if fields["state"] == "alert":
            self._alert(topics, fields)
        else:
            self._put(topics.event, json.dumps(fields, ensure_ascii=False))

    def present(self, stream: str | None, there: bool) -> None:
        """Takes the news that a source gives sound, or is lost; returns at once."""
        self._put(self._streams[stream].source, ONLINE if there else OFFLINE)

    def close(self) -> None:
        """Switches alerts off, delivers the waiting messages, and disconnects.

        A broker that is known to be away gets no time.
        """
        for topic, fields in list(self._on.items()):
            self._switch_off(topic, fields)
        for topics in self._streams.values():
            self._put(topics.source, OFFLINE)
        seconds = LAST_DELIVERY_SECONDS if self._problem is None else 0.0
        self._delivery.close(time.monotonic() + seconds)
        if self._ready.is_set():
            topic = availability_topic(self._broker.client)
            with contextlib.suppress(RuntimeError):  # the broker was lost just now
                self._client.publish(topic, OFFLINE, qos=1, retain=True).wait_for_publish(
                    GOODBYE_SECONDS
                )
            self._client.disconnect()
            self._client.loop_stop()
        else:  # not waited for, as a try to connect may take long
            self._client.on_connect_fail = None
            self._client.disconnect()

    def _alert(self, topics: StreamTopics, fields: Fields) -> None:
        """Switches an alert on, and off when its time is over."""
        sound = next(sound for sound in topics.sounds if sound.sentence == fields["alert"])
        topic = topics.alert(sound.sentence)
        with self._switching:
            self._on[topic] = fields
            self._put(topic, alert_state(True, fields))
        seconds = min(sound.hold_off + OFF_DELAY_SECONDS, threading.TIMEOUT_MAX)
        timer = threading.Timer(seconds, self._switch_off, (topic, fields))
        timer.daemon = True
        timer.start()

    def _switch_off(self, topic: str, fields: Fields) -> None:
        """Switches an alert off, unless it was raised again after this row."""
        with self._switching:
            if self._on.get(topic) is fields:
                del self._on[topic]
                self._put(topic, alert_state(False, fields))

    def _put(self, topic: str, payload: str) -> None:
        self._delivery.put({"topic": topic, "payload": payload})

    def _deliver(self, message: Fields) -> None:
        """Publishes a message, and returns when the broker has it."""
        topic, payload = str(message["topic"]), str(message["payload"])
        self._ready.wait()
        if topic in self._states:
            # Before it is published: a broker that comes back in between gets the new state, too.
            self._states[topic] = payload
        # If the connection breaks, paho publishes it again on the next one.
        number = self._client.publish(topic, payload, qos=1, retain=True).mid
        with self._answered:
            self._answered.wait_for(lambda: number in self._confirmed)
            self._confirmed.clear()

    def _new_client(self) -> "Client":
        """Returns a client that connects again after each loss."""
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        name = availability_topic(self._broker.client).rpartition("/")[0].replace("/", "-")
        client = Client(CallbackAPIVersion.VERSION2, client_id=name)
        client.will_set(availability_topic(self._broker.client), OFFLINE, qos=1, retain=True)
        client.reconnect_delay_set(FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS)
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        if (credentials := self._broker.credentials) is not None:
            client.username_pw_set(credentials.user, credentials.password)
        client.on_connect = self._connected
        client.on_connect_fail = self._unreachable
        client.on_disconnect = self._disconnected
        client.on_publish = self._published
        client.on_message = self._received
        return client

    # Called on paho's thread

    def _connected(
        self, client: "Client", _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        """Publishes the retained messages, which a broker may have lost, before all others."""
        if reason.is_failure:
            self._refused = True
            self._trouble(f"it refuses the connection ({reason})")
            return
        for topic, payload in {
            **self._descriptions,
            availability_topic(self._broker.client): ONLINE,
            **self._states,
        }.items():
            client.publish(topic, payload, retain=True)
        # The broker answers with its retained messages; `_received` removes old ones.
        for pattern in (
            discovery_topics(self._broker.client),
            topics_of_client(self._broker.client),
        ):
            client.subscribe(pattern)
        if self._problem is not None:
            self._say(f"{self._broker.shown}: is back")
            self._problem = None
        self._ready.set()

    def _unreachable(self, _client: "Client", _data: Any) -> None:
        """Tells why there is no connection."""
        error = sys.exception()  # paho calls this while it handles the error, and does not pass it
        if isinstance(error, ssl.SSLCertVerificationError):
            self._trouble(f"its certificate is refused ({error.verify_message})")
        else:
            reason = getattr(error, "strerror", None) or type(error).__name__
            self._trouble(f"cannot be reached ({reason})")

    def _disconnected(
        self, _client: "Client", _data: Any, _flags: Any, reason: Any, _properties: Any
    ) -> None:
        if self._ready.is_set():
            self._ready.clear()
            if reason.is_failure:  # not a goodbye
                self._trouble("was lost")
        elif not self._refused and reason.is_failure:
            advice = "" if self._broker.tls else "; if it needs TLS, see --mqtt-tls"
            self._trouble(f"it closes the connection at once{advice}")
        self._refused = False

    def _published(
        self, _client: "Client", _data: Any, number: int, _reason: Any, _properties: Any
    ) -> None:
        with self._answered:
            self._confirmed.add(number)
            self._answered.notify_all()

    def _received(self, client: "Client", _data: Any, message: "MQTTMessage") -> None:
        """Removes a retained message of a former alert or stream."""
        if message.retain and message.payload and message.topic not in self._topics:
            client.publish(message.topic, None, retain=True)

    def _trouble(self, problem: str) -> None:
        """Tells a problem with the broker, once."""
        if problem != self._problem:
            self._problem = problem
            self._say(f"{self._broker.shown}: {problem}; trying again")
