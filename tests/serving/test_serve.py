"""`auricle serve` as a command: where it serves, with which secrets, and how it stops."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from auricle.cli.main import app
from auricle.cli.serve import address, bound, is_loopback, serve
from auricle.errors import AuricleError
from auricle.serving.addresses import own_addresses
from auricle.serving.certificate import own_certificate
from auricle.serving.limits import Limits
from auricle.serving.tokens import DeviceTokens
from server import serving


def test_it_serves_the_network_with_a_token_and_tls_and_stops_when_asked(tmp_path: Path):
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    arguments = [
        sys.executable,
        "-m",
        "auricle",
        "serve",
        "--host",
        "0.0.0.0",
        "--port",
        "0",
        "--jobs",
        "1",
    ]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        said = process.stdout.readline()
        found = re.fullmatch(
            r"auricle serves at https://[^ :]+:(\d+)/#token=(\S{20,})    \(Ctrl-C stops it\)\n",
            said,
        )
        assert found, said + process.stderr.read()
        [certificate] = tmp_path.rglob("certificate.pem")
        assert (certificate.parent / "key.pem").stat().st_mode & 0o077 == 0
        trusted = ssl.create_default_context(cafile=str(certificate))
        url = f"https://localhost:{found[1]}"
        with urllib.request.urlopen(f"{url}/", context=trusted, timeout=30) as page:
            assert b"<title>auricle" in page.read()
        asked = urllib.request.Request(
            f"{url}/v1/info", headers={"Authorization": f"Bearer {found[2]}"}
        )
        with urllib.request.urlopen(asked, context=trusted, timeout=30) as info:
            assert b'"version"' in info.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""
    children = subprocess.run(
        ["ps", "-eo", "ppid,args"], capture_output=True, text=True, check=True
    ).stdout
    assert not re.search(rf"^ *{process.pid} ", children, re.MULTILINE)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"token": "short"}, "5 characters can be guessed"),
        ({"cert": Path("cert.pem")}, "--cert and --key belong together"),
        ({"checkpoint": Path("nowhere")}, "nowhere is not a checkpoint"),
        ({"host": "203.0.113.1"}, "cannot serve at 203.0.113.1:8000"),
    ],
)
def test_what_cannot_be_served_is_refused_in_words(options: dict[str, object], words: str):
    defaults = {
        "host": "127.0.0.1",
        "port": 8000,
        "token": None,
        "cert": None,
        "key": None,
        "tls": False,
        "host_name": None,
    }
    limits = {
        "jobs": 1,
        "queue": 1,
        "max_upload": 1,
        "max_minutes": 1.0,
        "max_wait": 1.0,
        "max_memory": 64,
    }
    more = {"checkpoint": None, "listen": False, "device": None}
    with pytest.raises(AuricleError, match=re.escape(words)):
        serve(**{**defaults, **limits, **more, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["--max-minutes", "--max-wait"])
@pytest.mark.parametrize("minutes", ["nan", "inf"])
def test_limits_are_numbers(option: str, minutes: str):
    refused = CliRunner().invoke(app, ["serve", option, minutes])
    assert (refused.exit_code, f"'{option}'" in refused.output) == (2, True)


def test_without_a_home_a_certificate_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    # as it is where there is no home
    monkeypatch.setattr("typer.get_app_dir", lambda _: "~/.config/auricle")
    with pytest.raises(AuricleError, match="give --cert and --key"):
        serve(host="127.0.0.1", port=0, tls=True, token=None, cert=None, key=None, host_name=None)


def test_without_a_home_a_token_is_enough(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("typer.get_app_dir", lambda _: "~/.config/auricle")
    arguments = ["serve", "--token", "a" * 16, "--no-tls", "--host", "203.0.113.1"]
    refused = CliRunner().invoke(app, arguments)
    assert "cannot serve at 203.0.113.1" in str(refused.exception)  # which comes last


def test_a_port_that_is_taken_is_named():
    with bound("127.0.0.1", 0) as taken, pytest.raises(AuricleError, match="try another --port"):
        bound("127.0.0.1", taken.getsockname()[1])


def test_devices_have_tokens_that_are_revoked_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("typer.get_app_dir", lambda _: str(tmp_path / "settings"))

    def command(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["token", *arguments], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout.strip()

    phone, tablet = command("issue", "phone"), command("issue", "kitchen tablet")
    # A server reads the file again when it changes.
    tokens = DeviceTokens(tmp_path / "settings" / "tokens.json")
    assert [tokens.knows(token) for token in (phone, tablet, "", "guess")] == [
        True,
        True,
        False,
        False,
    ]
    assert [line.split("  ")[1] for line in command("list").splitlines()] == [
        "phone",
        "kitchen tablet",
    ]
    kept = (tmp_path / "settings" / "tokens.json").read_text("utf-8")
    assert phone not in kept
    assert tablet not in kept
    with pytest.raises(AuricleError, match="has a token already"):
        command("issue", "phone")
    command("revoke", "phone")
    assert [tokens.knows(token) for token in (phone, tablet)] == [False, True]
    with pytest.raises(AuricleError, match="no device is called phone"):
        command("revoke", "phone")
    (tmp_path / "settings" / "tokens.json").write_text("damaged")
    assert not tokens.knows(tablet)


def test_a_device_token_opens_the_api_and_the_certificate_has_all_addresses(tmp_path: Path):
    tokens = DeviceTokens(tmp_path / "tokens.json")
    phone = tokens.issue("phone")
    with serving(Limits(jobs=1), "a token of the tests", devices=tokens) as server:
        assert server.ask("/v1/info", authorization=f"Bearer {phone}").status == 200
        assert server.ask("/v1/info", authorization="Bearer guess").status == 401
        tokens.revoke("phone")
        assert server.ask("/v1/info", authorization=f"Bearer {phone}").status == 401
    cert, _ = own_certificate(tmp_path, ())
    names = x509.load_pem_x509_certificate(cert.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert set(own_addresses()) <= {str(a) for a in names.value.get_values_for_type(x509.IPAddress)}


def test_addresses():
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8")] == [
        True
    ] * 4
    assert [is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.1", "example.org")] == [
        False
    ] * 4
    assert address("127.0.0.1", 80, False) == "http://127.0.0.1:80/"
    assert address("::1", 80, True) == "https://[::1]:80/"
    # A phone may not know this machine's name.
    shown = next(iter(own_addresses()), socket.gethostname())
    assert address("0.0.0.0", 80, True) == f"https://{shown}:80/"


def test_a_certificate_is_made_once_and_again_where_it_does_not_do(tmp_path: Path):
    folder = tmp_path / "new"
    cert, key = own_certificate(folder, ("sounds.example", "192.168.7.7", "0.0.0.0"))
    names = x509.load_pem_x509_certificate(cert.read_bytes()).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert {"sounds.example", "localhost"} <= set(names.value.get_values_for_type(x509.DNSName))
    assert {"192.168.7.7", "127.0.0.1"} <= {
        str(a) for a in names.value.get_values_for_type(x509.IPAddress)
    }
    made = cert.read_bytes(), key.read_bytes()
    own_certificate(folder, ("sounds.example",))
    assert (cert.read_bytes(), key.read_bytes()) == made
    own_certificate(folder, ("other.example",))
    assert cert.read_bytes() != made[0]
    cert.write_bytes(b"damaged")
    own_certificate(folder, ())
    assert x509.load_pem_x509_certificate(cert.read_bytes())
    ssl.create_default_context().load_cert_chain(cert, key)
