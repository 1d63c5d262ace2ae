"""The styles and scripts of the pages."""

from __future__ import annotations

from typing import Any

from starlette import staticfiles
from starlette.responses import Response


class StaticFiles(staticfiles.StaticFiles):
    """A browser keeps them, and asks each time whether they are still the same: after an upgrade
    no page meets another's script."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "no-cache"
        return response
