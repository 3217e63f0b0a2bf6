"""The documentation as a site.

    python scripts/docs_site.py

The pages of docs/ can be read in the repository, too. The script copies them for the site, adds
other pages (the reference of the commands, the model's card, the changelog, ...), and changes the
links to these. A link that leads nowhere is an error. So is an unknown name in the reference.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).parents[1]
# Files of the repository that are pages of the site, and what stands for others that pages link to.
PAGES = {
    "src/auricle/checkpoint/embedded/README.md": "card.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
INSTEAD = {"README.md": "index.md", "configs": "reference/recipes.md"}
LINK = re.compile(r"(?<=\]\()(?!https?:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
COMMANDS = [
    sys.executable,
    "-m",
    "typer",
    "auricle.cli.main",
    "utils",
    "docs",
    "--name",
    "auricle",
    "--title",
    "Commands",
]


def linked(source: Path, page: Path) -> str:
    """A Markdown file of the repository, its links as they are from a page of the site."""

    def target(match: re.Match[str]) -> str:
        path, anchor = match.groups(default="")
        there = Path(os.path.normpath(source.parent / path)).relative_to(ROOT)
        name = there.as_posix()
        if there.is_relative_to("docs"):
            found = there.relative_to("docs").as_posix()
        elif name in PAGES:
            found = PAGES[name]
        else:
            found, anchor = (
                next((INSTEAD[part] for part in (name, there.parts[0]) if part in INSTEAD), ""),
                "",
            )
            if not found:
                sys.exit(
                    f"{source.relative_to(ROOT)} links to {name}, which is nowhere on the site"
                )
        return os.path.relpath(found, page.parent) + anchor

    return LINK.sub(target, source.read_text("utf-8"))


def stage(folder: Path) -> None:
    """Writes what the site is built from."""
    docs = folder / "docs"
    shutil.copytree(ROOT / "docs", docs)
    shutil.copy(ROOT / "src/auricle/serving/page/icon.svg", docs)
    sources = {
        page.relative_to(ROOT).as_posix(): page.relative_to(ROOT / "docs").as_posix()
        for page in ROOT.glob("docs/**/*.md")
    }
    for source, page in (sources | PAGES).items():
        (docs / page).write_text(linked(ROOT / source, Path(page)), "utf-8")
    subprocess.run(
        [*COMMANDS, "--output", docs / "reference/commands.md"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    shutil.copy(ROOT / "zensical.toml", folder)
    for name in ("src", "scripts"):
        (folder / name).symlink_to(ROOT / name)


def main(
    output: Annotated[
        Path, typer.Argument(help="The folder of the site; its content is deleted.")
    ] = ROOT / "site",
) -> None:
    """Builds the site."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stage(folder)
        built = subprocess.run(
            [sys.executable, "-m", "zensical", "build", "--strict"], cwd=folder, check=False
        )
        if built.returncode:
            sys.exit(built.returncode)
        shutil.rmtree(output, ignore_errors=True)
        shutil.copytree(folder / "site", output)


if __name__ == "__main__":
    typer.run(main)
