"""Finds the files of recipes, and reads their tables."""

import tomllib
from pathlib import Path
from typing import Any

from auricle.errors import AuricleError

# Our own recipes stand in an installed package, or at the root of a repository.
_PACKAGED = Path(__file__).parents[1] / "configs"
RECIPES = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[3] / "configs"


def is_recipe(target: Path) -> bool:
    """Returns whether a path is a TOML file, or the name of one of our recipes and no folder."""
    return target.suffix == ".toml" or (
        not target.exists() and (RECIPES / f"{target}.toml").is_file()
    )


def read_table(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Reads the table of a recipe, with the fields of the recipes that it extends.

    Args:
        path: a TOML file.
        above: the recipes that extend this one.

    Raises:
        AuricleError: a file cannot be read, or extends itself.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise AuricleError(f"{path}: cannot be read as a recipe: {error}") from None
    base = table.pop("extends", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise AuricleError(f"{path}: extends is {base!r}, but must be the name of a recipe")
    above = (*above, path.resolve())
    below = find_recipe(Path(base), path.parent)
    if below.resolve() in above:
        raise AuricleError(f"{path}: extends itself, through {base}")
    return _merged(read_table(below, above), table)


def find_recipe(recipe: Path, folder: Path = Path()) -> Path:
    """Returns the file of a recipe that is named from a folder, or is one of ours by name.

    Raises:
        AuricleError: a name without ending is neither.
    """
    path = folder / recipe
    if path.suffix or path.is_file():
        return path
    ours = {path.relative_to(RECIPES).with_suffix(""): path for path in RECIPES.rglob("*.toml")}
    if recipe not in ours:
        names = ", ".join(sorted(map(str, ours)))
        raise AuricleError(f"no recipe '{recipe}': name a TOML file, or one of {names}")
    return ours[recipe]


def _merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(base[name], over[name]) for name in over if isinstance(base.get(name), dict)
    }
    return {**base, **over, **both}


def toml_value(text: str) -> Any:
    """Returns a value as in TOML; text that is none is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
