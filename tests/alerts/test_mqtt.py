"""Rows at an MQTT broker, its faults, and the options that name it."""

import datetime
import gc
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from auricle.alerts import mqtt
from auricle.alerts.broker import Broker, Credentials, read_address, read_credentials, tls_context
from auricle.alerts.home_assistant import StreamTopics
from auricle.alerts.watch import WatchedSound
from auricle.errors import AuricleError
from commands import Run
from mosquitto import Broker as Mosquitto
from mosquitto import running, subscribed, wait_until
from sounds import chirp

pytest.importorskip("paho.mqtt", reason="rows are published by paho: pip install 'auricle[mqtt]'")

CHECKPOINT = Path(__file__).parents[1] / "fixtures" / "checkpoint-0.1"
GLASS = WatchedSound("glass breaking", hold_off=0.3)
SIREN = WatchedSound("a siren", hold_off=60.0)
PASSWORD = "correct horse"
EVENT = "auricle/pi/event"
GLASS_STATE = "auricle/pi/alert/glass-breaking"


@dataclass
class Session:
    """A publisher, and its messages."""

    publisher: mqtt.Publisher
    said: list[str] = field(default_factory=list)

    def events(self, *numbers: int) -> None:
        """Publishes rows of events."""
        for number in numbers:
            self.publisher.row(None, {"state": "end", "id": number})

    def alert(self, sound: WatchedSound, number: int = 1) -> None:
        """Publishes an alert."""
        row = {"state": "alert", "id": number, "alert": sound.sentence}
        self.publisher.row(None, row)


@contextmanager
def publishing(
    port: int,
    *sounds: WatchedSound,
    host: str = "127.0.0.1",
    **settings: object,
) -> Iterator[Session]:
    """Yields a publisher of one stream."""
    said: list[str] = []
    broker = Broker(host, port, "pi", **settings)  # type: ignore[arg-type]
    publisher = mqtt.Publisher(broker, {None: StreamTopics("pi", None, sounds)}, said.append)
    try:
        yield Session(publisher, said)
    finally:
        publisher.close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(mqtt, "LONGEST_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(mqtt, "OFF_DELAY_SECONDS", 0.2)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with running(tmp_path, "allow_anonymous true") as started:
        yield started


def numbers(payloads: list[str]) -> list[int]:
    return [json.loads(payload)["id"] for payload in payloads]


def test_rows_come_in_order_and_who_subscribes_later_gets_the_current_state(broker: Mosquitto):
    with subscribed(broker) as noted, publishing(broker.port, GLASS, SIREN) as session:
        session.publisher.present(None, True)
        session.events(*range(50))
        session.alert(SIREN, 7)
        wait_until(lambda: "true" in (noted.last("auricle/pi/alert/a-siren") or ""))
        assert numbers(noted.of(EVENT)) == list(range(50))
        with subscribed(broker) as late:
            wait_until(lambda: EVENT in late.kept and len(late.kept) == 8)
            assert late.last("auricle/pi/availability") == "online"
            assert late.last("auricle/pi/source") == "online"
            assert numbers(late.of(EVENT)) == [49]
            siren, glass = (
                late.last(f"auricle/pi/alert/{name}") for name in ("a-siren", "glass-breaking")
            )
            assert json.loads(siren or "") == {
                "on": True,
                "last": {"state": "alert", "id": 7, "alert": "a siren"},
            }
            assert json.loads(glass or "") == {"on": False, "last": None}
            assert len([topic for topic in late.kept if topic.endswith("/config")]) == 3
    assert session.said == []


def test_an_alert_goes_off_after_its_hold_off(broker: Mosquitto):
    with subscribed(broker) as noted, publishing(broker.port, GLASS) as session:
        session.alert(GLASS, 7)
        wait_until(lambda: len(noted.of(GLASS_STATE)) == 3)
    states = [json.loads(payload) for payload in noted.of(GLASS_STATE)]
    assert [state["on"] for state in states] == [False, True, False]
    assert states[-1]["last"]["id"] == 7


def test_an_alert_that_is_raised_again_stays_on(broker: Mosquitto, monkeypatch: pytest.MonkeyPatch):
    due: list[Callable[[], None]] = []

    class Timer:
        """A timer that a test fires."""

        def __init__(self, seconds: float, function: Callable, arguments: tuple) -> None:
            assert seconds == pytest.approx(GLASS.hold_off + mqtt.OFF_DELAY_SECONDS)
            due.append(lambda: function(*arguments))

        def start(self) -> None:
            pass

    monkeypatch.setattr(threading, "Timer", Timer)
    with subscribed(broker) as noted, publishing(broker.port, GLASS) as session:
        session.alert(GLASS, 1)
        session.alert(GLASS, 2)
        due[0]()
        due[1]()
        session.events(1)
        wait_until(lambda: noted.of(EVENT))
    states = [json.loads(payload) for payload in noted.of(GLASS_STATE)]
    assert [state["on"] for state in states] == [False, True, True, False]
    assert states[-1]["last"]["id"] == 2


def test_the_end_switches_alerts_off_and_says_goodbye(broker: Mosquitto):
    with subscribed(broker) as noted:
        with publishing(broker.port, SIREN) as session:
            session.publisher.present(None, True)
            session.alert(SIREN)
            session.events(1)
        wait_until(lambda: noted.last("auricle/pi/availability") == "offline")
        assert json.loads(noted.last("auricle/pi/alert/a-siren") or "")["on"] is False
        assert noted.last("auricle/pi/source") == "offline"
        assert numbers(noted.of(EVENT)) == [1]
    assert session.said == []


def test_a_broker_that_comes_back_gets_all_that_waited_and_its_retained_messages(
    broker: Mosquitto,
):
    with publishing(broker.port, SIREN) as session:
        session.alert(SIREN)
        with subscribed(broker) as noted:
            wait_until(lambda: "true" in (noted.last("auricle/pi/alert/a-siren") or ""))
        broker.stop()
        wait_until(lambda: session.said)
        session.events(*range(20))
        broker.start()
        with subscribed(broker) as noted:
            wait_until(lambda: noted.of(EVENT) and numbers(noted.of(EVENT))[-1] == 19)
            wait_until(lambda: len([t for t, _ in noted.messages if t.endswith("/config")]) >= 2)
            assert json.loads(noted.last("auricle/pi/alert/a-siren") or "")["on"] is True
            assert noted.last("auricle/pi/availability") == "online"
    assert "was lost; trying again" in session.said[0]
    assert session.said[-1].endswith("is back")


def test_each_row_of_a_restart_in_the_middle_is_delivered(broker: Mosquitto):
    with subscribed(broker) as noted, publishing(broker.port) as session:
        for number in range(60):
            session.events(number)
            if number in (20, 40):
                wait_until(lambda: noted.of(EVENT))
                broker.stop()
                broker.start()
            time.sleep(0.005)
        wait_until(lambda: numbers(noted.of(EVENT))[-1] == 59)
        assert not [line for line in session.said if "lost" in line and "messages" in line]


def test_what_is_too_much_is_counted_and_nothing_waits_for_a_broker_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mqtt, "MOST_WAITING_MESSAGES", 10)
    broker = Mosquitto(tmp_path, "allow_anonymous true")
    with publishing(broker.port) as session:
        begin = time.monotonic()
        session.events(*range(100))
        assert time.monotonic() - begin < 1
        broker.start()
        with subscribed(broker) as noted:
            wait_until(lambda: numbers(noted.of(EVENT))[-1:] == [99])
        broker.stop()
    # Ten waited, and one more if it was being delivered already.
    shown = f"MQTT broker 127.0.0.1:{broker.port}"
    reports = [f"{shown}: {lost} messages were lost" for lost in (89, 90)]
    assert len([line for line in session.said if line in reports]) == 1


def test_what_waits_at_the_end_is_counted(tmp_path: Path):
    broker = Mosquitto(tmp_path)  # never started
    begin = time.monotonic()
    with publishing(broker.port) as session:
        session.events(1, 2, 3)
        wait_until(lambda: session.said)
    assert time.monotonic() - begin < 5
    assert "cannot be reached (Connection refused); trying again" in session.said[0]
    assert session.said[-1].endswith(": 4 messages were lost")  # with the source's farewell


def test_a_process_that_is_killed_is_offline_and_its_next_run_removes_old_sensors(
    broker: Mosquitto,
):
    code = (
        "import time; from auricle.alerts.mqtt import *; from auricle.alerts.broker import Broker;"
        "from auricle.alerts.watch import WatchedSound;"
        f"topics = StreamTopics('pi', None, (WatchedSound('a bell'),));"
        f"Publisher(Broker('127.0.0.1', {broker.port}, 'pi'), {{None: topics}}, print);"
        "time.sleep(60)"
    )
    with subscribed(broker) as noted:
        process = subprocess.Popen([sys.executable, "-c", code])
        wait_until(lambda: noted.last("auricle/pi/alert/a-bell"))
        process.kill()
        process.wait()
        wait_until(lambda: noted.last("auricle/pi/availability") == "offline")
        with publishing(broker.port, SIREN):
            wait_until(lambda: noted.last("auricle/pi/alert/a-bell") == "")
            bell = next(topic for topic, _ in noted.messages if topic.endswith("a-bell/config"))
            wait_until(lambda: noted.last(bell) == "")
            assert noted.last("auricle/pi/availability") == "online"


# Passwords and certificates


def password_file(folder: Path) -> Path:
    """Makes a broker's file of users."""
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("there is no MQTT broker: apt install mosquitto")
    path = folder / "users"
    command = [program, "-b", "-c", str(path), "auricle", PASSWORD]
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_wrong_credentials_are_told_once_and_no_message_repeats_them(tmp_path: Path):
    settings = ("allow_anonymous false", f"password_file {password_file(tmp_path)}")
    with running(tmp_path, *settings) as broker:
        wrong = Credentials("auricle", "battery staple")
        with publishing(broker.port, credentials=wrong) as session:
            session.events(1)
            wait_until(lambda: session.said)
            time.sleep(0.3)  # it is tried again
            assert len(session.said) == 1
            assert "it refuses the connection (Not authorized)" in session.said[0]
        assert "battery" not in "".join(session.said)
        right = Credentials("auricle", PASSWORD)
        with subscribed(broker, "auricle", PASSWORD) as noted:
            with publishing(broker.port, credentials=right) as session:
                session.events(2)
            assert numbers(noted.of(EVENT)) == [2]
            assert session.said == []


def authority(folder: Path) -> tuple[Path, Path, Path]:
    """Makes an authority, and a certificate of `localhost` and its key: three files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    today = datetime.datetime.now(datetime.UTC)
    folder.mkdir()
    files = folder / "ca.pem", folder / "server.pem", folder / "key.pem"
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, n)]) for n in ("ours", "localhost")]
    for place, (path, key, name) in enumerate(zip(files, keys, names, strict=False)):
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(today - datetime.timedelta(days=1))
            .not_valid_after(today + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=place == 0, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()),
                critical=False,
            )
        )
        if place == 0:
            usage = x509.KeyUsage(
                **dict.fromkeys(
                    (
                        "digital_signature",
                        "content_commitment",
                        "key_encipherment",
                        "data_encipherment",
                        "key_agreement",
                        "encipher_only",
                        "decipher_only",
                    ),
                    False,
                ),
                key_cert_sign=True,
                crl_sign=True,
            )
            certificate = certificate.add_extension(usage, critical=True)
        else:
            alternative = x509.SubjectAlternativeName([x509.DNSName("localhost")])
            certificate = certificate.add_extension(alternative, critical=False)
        signed = certificate.sign(keys[0], hashes.SHA256())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files[2].write_bytes(
        keys[1].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # paho's, of a failed handshake
def test_tls_trusts_the_authority_that_it_is_given_and_no_other(tmp_path: Path):
    pytest.importorskip("cryptography", reason="certificates: pip install 'auricle[serve]'")
    ca, certificate, key = authority(tmp_path / "ours")
    other, _, _ = authority(tmp_path / "other")
    settings = (
        "allow_anonymous true",
        f"certfile {certificate}",
        f"keyfile {key}",
    )
    with running(tmp_path, *settings) as broker:
        with publishing(broker.port, host="localhost", tls=tls_context(ca)) as session:
            session.events(1)
        assert session.said == [], "all was delivered"
        for host, trusted, problem in (
            ("localhost", other, "certificate is refused"),
            ("127.0.0.1", ca, "certificate is refused"),  # a name that the certificate lacks
        ):
            with publishing(broker.port, host=host, tls=tls_context(trusted)) as session:
                wait_until(lambda session=session: session.said)
                assert problem in session.said[0]
        with publishing(broker.port, host="localhost") as session:  # without TLS
            session.events(1)
            wait_until(lambda: session.said)
        assert "it closes the connection at once; if it needs TLS" in session.said[0]
        assert "messages were lost" in session.said[-1]
    gc.collect()  # its warnings come now


@pytest.mark.skipif(os.name != "posix", reason="modes of files are those of POSIX")
def test_a_file_of_credentials_is_read_strictly_and_never_repeated(tmp_path: Path):
    path = tmp_path / "mqtt.toml"

    def written(text: str, mode: int = 0o600) -> Path:
        path.write_text(text)
        path.chmod(mode)
        return path

    right = f'user = "auricle"\npassword = "{PASSWORD}"\n'
    found = read_credentials(written(right))
    assert (found.user, found.password) == ("auricle", PASSWORD)
    assert PASSWORD not in repr(found)
    for text, mode, message in (
        (right, 0o644, "chmod 600"),
        (f'user = "auricle"\npasword = "{PASSWORD}"', 0o600, "did you mean password"),
        (f'password = "{PASSWORD}"', 0o600, "'user' is missing"),
        (f"auricle\n{PASSWORD}\n", 0o600, "expected two lines"),
        (f'user = "auricle"\npassword = ["{PASSWORD}"]', 0o600, "expected two lines"),
        ("", 0o600, "expected two lines"),
    ):
        with pytest.raises(AuricleError, match=message) as error:
            read_credentials(written(text, mode))
        assert PASSWORD not in str(error.value)
    with pytest.raises(AuricleError, match="No such file"):
        read_credentials(tmp_path / "none.toml")
    with pytest.raises(AuricleError, match="no certificates"):
        tls_context(path)


def test_an_address_is_host_and_port():
    assert read_address("broker.local", tls=False) == ("broker.local", 1883)
    assert read_address("broker.local", tls=True) == ("broker.local", 8883)
    assert read_address("broker.local:1884", tls=True) == ("broker.local", 1884)
    assert read_address("[::1]:1884", tls=False) == ("::1", 1884)
    for wrong in (
        f"me:{PASSWORD}@broker",
        "mqtt://broker",
        "",
        ".",
        "broker:none",
        "broker:0",
        "broker:70000",
        "a b",
        "a" * 70,
    ):
        with pytest.raises(AuricleError, match="HOST:PORT") as error:
            read_address(wrong, tls=False)
        assert PASSWORD not in str(error.value)


# The command


def test_listen_publishes_its_rows(auricle: Run, broker: Mosquitto, tmp_path: Path):
    alerts = tmp_path / "alerts.toml"
    alerts.write_text('[[alert]]\nsentence = "bird"\nthreshold = -100.0\n')
    sound = (chirp(4, 100, 2_000, 32_000) * 32767).astype("<i2").tobytes()
    with subscribed(broker) as noted:
        result = auricle(
            *("listen", "-", "--format", "jsonl", "--checkpoint", CHECKPOINT),
            *("--alerts", alerts, "--mqtt", f"127.0.0.1:{broker.port}", "--mqtt-name", "pi"),
            stdin=sound,
        )
    assert (result.code, result.err) == (0, "")
    rows = [json.loads(line) for line in result.out.splitlines()]
    events = [row for row in rows if row["state"] != "alert"]
    assert [json.loads(payload) for payload in noted.of(EVENT)] == events != []
    states = [json.loads(payload) for payload in noted.of("auricle/pi/alert/bird")]
    assert (
        [s["last"] for s in states if s["on"]] == [r for r in rows if r["state"] == "alert"] != []
    )
    assert states[-1]["on"] is False


def test_options_that_make_no_sense_are_one_line(auricle: Run, monkeypatch: pytest.MonkeyPatch):
    checkpoint = ("--checkpoint", CHECKPOINT)
    for arguments, message in (
        (("--mqtt-tls",), "need --mqtt HOST"),
        (("--mqtt-name", "pi"), "need --mqtt HOST"),
        (("--mqtt", "broker", "--mqtt-name", " "), "--mqtt-name is empty"),
        (("--mqtt", "me:secret@broker"), "HOST:PORT"),
    ):
        result = auricle("listen", "-", *arguments, *checkpoint)
        assert result.code == 1
        assert message in result.err
        assert "secret" not in result.err
    for name in [name for name in sys.modules if name.split(".")[0] == "paho"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "paho", None)
    result = auricle("listen", "-", "--mqtt", "127.0.0.1", *checkpoint)
    assert result.code == 1
    assert "pip install 'auricle[mqtt]'" in result.err
