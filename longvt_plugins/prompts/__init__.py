"""Prompts are files: ``*.jinja`` beside this one, or in a user's own folder. README.md says what each is for.

>>> render("question", question="Who wins?", videos=[("video_1.mp4", "64")], options=None)
'video_1.mp4 lasts 64 s. Who wins?'

A name that a template uses and nobody fills raises, so that no ``{caption}`` ever reaches a model.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Environment


def render(name: str, *, folder: str | Path | None = None, **values: Any) -> str:
    """Fills a prompt.

    Args:
        name: File name without ``.jinja``.
        folder: The user's own prompts; what is not there comes from ours.
        values: What the template asks for.

    Returns:
        The text, without white space at its ends.

    Raises:
        ConfigError: No such prompt, a faulty template, or a name that was not filled.
    """
    from jinja2 import TemplateError, TemplateNotFound

    try:
        template = _environment(str(folder) if folder is not None else None).get_template(f"{name}.jinja")
        return template.render(values).strip()
    except TemplateNotFound:
        raise ConfigError(f"no prompt {name!r}; there are: {', '.join(names(folder))}") from None
    except TemplateError as error:
        raise ConfigError(f"prompt {name!r}: {error}") from error


def names(folder: str | Path | None = None) -> list[str]:
    """Names of the prompts that :func:`render` finds."""
    folders = [Path(__file__).parent, *([Path(folder)] if folder is not None else [])]
    return sorted({path.stem for place in folders for path in place.glob("*.jinja")})


@functools.lru_cache(maxsize=8)
def _environment(folder: str | None) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    places = [*([folder] if folder is not None else []), str(Path(__file__).parent)]
    # What a model reads is text, not HTML: nothing is escaped.
    loader = FileSystemLoader(places)
    return Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
