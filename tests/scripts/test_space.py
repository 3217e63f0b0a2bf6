"""The Space of examples/space captions a sound, with a stand-in for Gradio."""

import runpy
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

ROOT = Path(__file__).parents[2]
SPACE = ROOT / "examples/space"


def test_the_space_captions_a_sound(monkeypatch: pytest.MonkeyPatch):
    gradio = MagicMock()
    monkeypatch.setitem(sys.modules, "gradio", gradio)
    runpy.run_path(str(SPACE / "app.py"))
    caption = gradio.Interface.call_args.args[0]
    text = caption(str(ROOT / "examples/rain.wav"))
    assert text.startswith("0.0 s to ")
    assert "rain" in text.lower()


def test_the_readme_configures_the_space():
    huggingface_hub = pytest.importorskip("huggingface_hub", reason="pip install 'auricle[hub]'")
    data = huggingface_hub.RepoCard((SPACE / "README.md").read_text("utf-8")).data
    assert (data.sdk, data.app_file) == ("gradio", "app.py")
    assert (SPACE / data.app_file).is_file()
    assert "auricle" in (SPACE / "requirements.txt").read_text("utf-8").split()
