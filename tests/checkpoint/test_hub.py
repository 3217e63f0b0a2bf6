"""Checkpoints by name from a hub, and to it: against a server on loopback that speaks as the
Hugging Face Hub does."""

import base64
import hashlib
import json
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from auricle.captioning.captioner import load
from auricle.checkpoint.folder import CHECKPOINT_FILES, load_checkpoint
from auricle.errors import AuricleError
from commands import Run
from sounds import chirp

constants = pytest.importorskip(
    "huggingface_hub.constants", reason="the Hub's client: pip install 'auricle[hub]'"
)
SOUND = chirp(1, 100, 5_000, 32_000)


@dataclass
class Hub:
    """Repositories, and what was asked of them."""

    url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    # what it says of files, where that is not so
    sizes: dict[str, int] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    gone: bool = False
    asked: list[str] = field(default_factory=list)

    def commit(self, name: str) -> str:
        """Of a repository's state."""
        whole = hashlib.sha1(usedforsecurity=False)
        for file, content in sorted(self.repositories[name].items()):
            whole.update(file.encode() + content)
        return whole.hexdigest()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on loopback, and a cache of one's own for what comes from it."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

        def send(self, status: int, body: bytes, **headers: str) -> None:
            self.send_response(status)
            for key, value in {"Content_Length": str(len(body)), **headers}.items():
                self.send_header(key.replace("_", "-"), value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sent = self.rfile.read(length) if length else self._chunks()
            path = unquote(urlsplit(self.path).path).strip("/").split("/")
            state.asked.append(f"{self.command} {'/'.join(path)}")
            if state.gone:
                self.send(503, b"")
            elif path == ["api", "repos", "create"]:
                request = json.loads(sent)
                name = f"{request['organization']}/{request['name']}"
                if request.get("private") or request.get("visibility") == "private":
                    state.private.add(name)
                state.repositories.setdefault(name, {})
                self.json({"url": f"{state.url}/{name}", "name": name, "id": name})
            elif path == ["api", "validate-yaml"]:
                self.json({})
            elif path[:2] == ["api", "models"]:
                what, *rest = path[4:] or ["revision", "main"]
                self.about("/".join(path[2:4]), what, rest, sent)
            else:
                self.file("/".join(path[:2]), path[3], "/".join(path[4:]))

        do_GET = do_HEAD = do_POST = answer  # noqa: N815 - the base class's names

        def json(self, value: object) -> None:
            self.send(200, json.dumps(value).encode(), Content_Type="application/json")

        def about(self, name: str, what: str, rest: list[str], sent: bytes) -> None:
            files = state.repositories.get(name)
            if files is None:
                self.send(404, b"{}", X_Error_Code="RepoNotFound")
            elif what == "revision" and rest[0] not in ("main", state.commit(name)):
                self.send(404, b"{}", X_Error_Code="RevisionNotFound")
            elif what == "revision":
                self.json(
                    {
                        "id": name,
                        "sha": state.commit(name),
                        "siblings": [{"rfilename": file} for file in files],
                    }
                )
            elif what == "tree":
                self.json(
                    [
                        {
                            "type": "file",
                            "path": file,
                            "size": len(content),
                            "oid": hashlib.sha1(content, usedforsecurity=False).hexdigest(),
                        }
                        for file, content in files.items()
                    ]
                )
            elif what == "preupload":
                modes = {"uploadMode": "regular", "shouldIgnore": False}
                self.json(
                    {
                        "files": [
                            {"path": file["path"], **modes} for file in json.loads(sent)["files"]
                        ]
                    }
                )
            elif what == "commit":
                for line in map(json.loads, sent.splitlines()):
                    if line["key"] == "file":
                        files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                commit = state.commit(name)
                self.json({"commitUrl": f"{state.url}/{name}/commit/{commit}", "commitOid": commit})

        def file(self, name: str, revision: str, file: str) -> None:
            content = state.repositories.get(name, {}).get(file)
            if content is None or revision != state.commit(name):
                self.send(404, b"", X_Error_Code="EntryNotFound")
                return
            etag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            size = str(state.sizes.get(file, len(content)))
            self.send(200, content, ETag=f'"{etag}"', X_Repo_Commit=revision, Content_Length=size)

        def _chunks(self) -> bytes:
            content = b""
            while self.headers.get("Transfer-Encoding") == "chunked" and (
                size := int(self.rfile.readline(), 16)
            ):
                content += self.rfile.read(size)
                self.rfile.readline()
            return content

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setattr(constants, "ENDPOINT", state.url)
        template = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", state.url + template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", "hf_ours")
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        monkeypatch.chdir(tmp_path)
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def stored(hub: Hub, tiny_guided_checkpoint: Path) -> Hub:
    """A hub that has a checkpoint, and other files next to it."""
    files = {
        path.name: path.read_bytes() for path in tiny_guided_checkpoint.iterdir() if path.is_file()
    }
    hub.repositories["owner/name"] = files | {
        "README.md": b"A card.",
        "notes/x.bin": bytes(1000),
        "run.py": b"exit()",
    }
    return hub


@pytest.mark.usefixtures("stored")
def test_a_checkpoint_by_name(tiny_guided_checkpoint: Path):
    captioner = load("owner/name")
    assert captioner.caption(SOUND) == load(tiny_guided_checkpoint).caption(SOUND)
    assert {path.name for path in captioner.checkpoint.folder.iterdir()} == {
        path.name for path in tiny_guided_checkpoint.iterdir()
    } | {"README.md"}, "nothing else is fetched"


def test_it_is_fetched_once_and_found_without_a_network(stored: Hub):
    load("owner/name")
    stored.asked.clear()
    load("owner/name")
    assert stored.asked == ["GET api/models/owner/name"]
    stored.gone = True
    assert load("owner/name").caption(SOUND).text


def test_a_revision(stored: Hub):
    commit = stored.commit("owner/name")
    assert load(f"owner/name@{commit}").checkpoint.folder.name == commit
    stored.repositories["owner/name"]["README.md"] = b"Another card."
    assert (load("owner/name").checkpoint.folder / "README.md").read_text() == "Another card."
    assert (load(f"owner/name@{commit}").checkpoint.folder / "README.md").read_text() == "A card."
    with pytest.raises(AuricleError, match=r"owner/name on .* has no revision v9"):
        load("owner/name@v9")


def test_a_folder_comes_before_a_name(stored: Hub, tiny_checkpoint: Path):
    shutil.copytree(tiny_checkpoint, "owner/name")
    assert load("owner/name").checkpoint.config.space == 0
    assert not stored.asked


@pytest.mark.parametrize(
    "name",
    ["one", "a/b/c", "/owner/name", "../name", "owner/..", "owner/na me", "./name", "-o/name"],
)
def test_what_is_no_name_is_not_looked_for(stored: Hub, name: str):
    with pytest.raises(AuricleError, match="is not a checkpoint"):
        load(name)
    assert not stored.asked


def test_what_cannot_be_had_is_a_line(stored: Hub, auricle: Run):
    code, out, errors = auricle("info", "owner/other")
    assert (code, out) == (1, "")
    assert errors == (
        f"auricle: no folder owner/other, and no such repository on {stored.url} that you may "
        f"read: check the name, or log in with `hf auth login`\n"
    )
    stored.repositories["owner/other"] = {"config.json": b"{}", "model.bin": b"x"}
    assert "is not a checkpoint: vocabulary.txt is missing" in auricle("info", "owner/other")[2]
    stored.gone = True
    assert auricle("info", "owner/third")[2] == (
        f"auricle: no folder owner/third, it is not in the cache, and {stored.url} cannot be "
        f"reached: check the name and the network\n"
    )


def test_too_much_is_not_fetched(stored: Hub):
    stored.sizes["decoder.onnx"] = 1 << 40
    with pytest.raises(
        AuricleError,
        match=f"owner/name: decoder.onnx has {1 << 40} bytes: expected at most "
        f"{CHECKPOINT_FILES['decoder.onnx']}",
    ):
        load("owner/name")
    assert not any("resolve" in asked and asked.startswith("GET") for asked in stored.asked)


def test_push_and_fetch(
    hub: Hub,
    auricle: Run,
    tiny_guided_checkpoint: Path,
    tmp_path: Path,
):
    folder = tmp_path / "mine"
    shutil.copytree(tiny_guided_checkpoint, folder)
    (folder / "state").mkdir()
    (folder / "log.jsonl").write_text("ours alone")
    assert auricle("push", folder, "me/sounds", "--private") == (0, f"{hub.url}/me/sounds\n", "")
    files = hub.repositories["me/sounds"]
    assert files.keys() == {path.name for path in tiny_guided_checkpoint.iterdir()} | {"README.md"}
    assert hub.private == {"me/sounds"}
    text = files.pop("README.md").decode()
    assert text.startswith(
        '---\nlibrary_name: auricle\nlicense: other\nlicense_name: "none-random-numbers"\n'
    )
    data = pytest.importorskip("huggingface_hub").ModelCard(text).data
    assert (data.library_name, data.license, data.tags) == (
        "auricle",
        "other",
        ["audio-captioning"],
    )
    assert re.fullmatch("[a-z0-9.-]+", data.license_name)
    assert "auricle caption sound.wav --checkpoint me/sounds" in text
    assert all(content == (folder / name).read_bytes() for name, content in files.items())
    hub.repositories["me/sounds"]["README.md"] = text.encode()
    assert load("me/sounds").caption(SOUND) == load(folder).caption(SOUND)

    (folder / "README.md").write_text("# My sounds\n")
    assert auricle("push", folder, "me/sounds")[0] == 0
    text = hub.repositories["me/sounds"]["README.md"].decode()
    assert text.startswith("---\nlibrary_name: auricle\n")
    assert text.endswith("---\n\n# My sounds\n")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# My sounds\n")
    auricle("push", folder, "me/sounds")
    assert hub.repositories["me/sounds"]["README.md"].decode() == (folder / "README.md").read_text()


def test_what_cannot_be_captioned_with_is_not_pushed(
    hub: Hub,
    auricle: Run,
    tiny_guided_checkpoint: Path,
    tmp_path: Path,
):
    folder = tmp_path / "mine"
    shutil.copytree(tiny_guided_checkpoint, folder)
    shutil.copy(folder / "encoder.onnx", folder / "decoder.onnx")
    assert "does not fit" in auricle("push", folder, "me/sounds")[2]
    (folder / "decoder.onnx").unlink()
    (folder / "decoder.onnx").symlink_to("/etc/passwd")
    assert "is a link that leaves the folder" in auricle("push", folder, "me/sounds")[2]
    assert not hub.asked


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delitem(sys.modules, "auricle.checkpoint.hub", raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        AuricleError,
        match=r"no folder runs/mine: to look for it .*, pip install 'auricle\[hub\]'",
    ):
        load_checkpoint(Path("runs/mine"))
