"""The page's files and the examples, which a browser may keep as long as their etag is right."""

from collections.abc import Container
from pathlib import Path

from fastapi.staticfiles import StaticFiles
from starlette.routing import Match, Mount
from starlette.types import Scope

PAGE = Path(__file__).parent / "page"
# In the package; in a checkout, where they are made.
EXAMPLES = next(
    folder
    for folder in (PAGE / "examples", Path(__file__).parents[3] / "examples", PAGE)
    if folder.is_dir()
)


class PageFiles(Mount):
    """The page at `/`, which leaves paths of the API alone, so that those get 404 and 405.

    Args:
        api_paths: paths of the API outside of /v1/.
    """

    def __init__(self, api_paths: Container[str]) -> None:
        super().__init__("/", StaticFiles(directory=PAGE, html=True))
        self._api_paths = api_paths

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as a mount, unless the path is the API's."""
        path = scope.get("path", "")
        if path.startswith("/v1/") or path in self._api_paths:
            return Match.NONE, {}
        return super().matches(scope)
