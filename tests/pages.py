"""What tests of the page do with it."""

from pathlib import Path
from typing import Any

# For the browser another machine, to which it does not entrust its microphone.
FAR = "sounds.example"
PATIENCE = 120_000  # milliseconds, on a machine that does much else


def give(page: Any, *files: Path) -> None:
    """Give the page files."""
    page.locator("body[data-ready]").wait_for()
    page.set_input_files("#chooser", files)


def captioned(page: Any, file: Path) -> None:
    """Give the page a file, and wait until it is captioned."""
    give(page, file)
    page.locator("#said", has_text="Done").wait_for(state="attached")


def downloaded(page: Any, form: str) -> str:
    """Download the captions in a form, and return the text of the file."""
    page.select_option("#format", form)
    with page.expect_download() as download:
        page.click("#download")
    return Path(download.value.path()).read_text("utf-8")


def violations(page: Any) -> list[str]:
    """Return what axe finds wrong with the page as it is."""
    from axe_playwright_python.sync_playwright import Axe

    response = Axe().run(page).response
    assert len(response["passes"]) > 10  # it did look
    found = response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html']} {v['nodes'][0]['failureSummary']}" for v in found]
