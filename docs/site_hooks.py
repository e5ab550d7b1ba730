"""Two things that the site needs and Markdown in a repository does not (hooks of MkDocs).

Links that lead out of ``docs/``, such as ``[README](../README.md)``, work where the repository is read; the site has no
such pages, so there they become text with the path. And a page that no group of ``mkdocs.yml`` names is listed under
"More" instead of being lost.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\((?!\w+:)([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: Any) -> Any:
    """Adds the pages that are not in the navigation."""
    folder = Path(config["docs_dir"])
    listed = set(_pages(config["nav"]))
    found = sorted(str(PurePosixPath(file.relative_to(folder))) for file in folder.rglob("*.md"))
    if more := [page for page in found if page not in listed]:
        config["nav"] = [*config["nav"], {"More": more}]
    return config


def on_page_markdown(markdown: str, page: Any, config: Any, **unused: Any) -> str:
    """Takes links out of ``docs/`` away, and keeps their text."""
    folder = Path(config["docs_dir"]).resolve()
    here = (folder / page.file.src_uri).parent

    def shown(link: re.Match[str]) -> str:
        target = (here / link[2]).resolve()
        if target.is_relative_to(folder):
            return link[0]
        # A path that is its own text is not said twice.
        path = target.relative_to(folder.parent)
        return link[1] if str(path) in link[1] else f"{link[1]} (`{path}`)"

    return _LINK.sub(shown, markdown)


def _pages(entries: Any) -> list[str]:
    if isinstance(entries, str):
        return [entries]
    values = entries.values() if isinstance(entries, dict) else entries
    return [page for value in values for page in _pages(value)]
