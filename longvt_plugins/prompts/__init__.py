"""Prompts are files: ``*.jinja`` beside this one, or in a user's own folder. README.md says what each is for.

>>> render("question", question="Who wins?", videos=[("video_1.mp4", "64")], options=None)
'video_1.mp4 lasts 64 s. Who wins?'

A name that a template uses and nobody fills raises, so that no ``{caption}`` ever reaches a model. Other packages
keep prompts of their own in folders that they name.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Environment


Folders = str | Path | Sequence[str | Path] | None
"""Where prompts lie besides here; the first of several that has one gives it."""


def render(name: str, *, folder: Folders = None, **values: Any) -> str:
    """Fills a prompt.

    Args:
        name: File name without ``.jinja``.
        folder: The user's own prompts, or several such folders; what is not there comes from ours.
        values: What the template asks for.

    Returns:
        The text, without white space at its ends.

    Raises:
        ConfigError: No such prompt, a faulty template, or a name that was not filled.
    """
    from jinja2 import TemplateError, TemplateNotFound

    try:
        template = _environment(_places(folder)).get_template(f"{name}.jinja")
        return template.render(values).strip()
    except TemplateNotFound:
        raise ConfigError(f"no prompt {name!r}; there are: {', '.join(names(folder))}") from None
    except TemplateError as error:
        raise ConfigError(f"prompt {name!r}: {error}") from error


def text_digest(name: str, *, folder: Folders = None) -> str:
    """16 hexadecimal digits of a prompt's text before it is filled, with that of all prompts that it includes.

    Args:
        name: File name without ``.jinja``.
        folder: As for :func:`render`.

    Raises:
        ConfigError: No such prompt, or a faulty template.
    """
    from jinja2 import TemplateError, TemplateNotFound
    from jinja2.meta import find_referenced_templates

    environment = _environment(_places(folder))
    assert environment.loader is not None
    texts: dict[str, str] = {}
    waiting = [f"{name}.jinja"]
    try:
        while waiting:
            file = waiting.pop()
            if file not in texts:
                texts[file] = environment.loader.get_source(environment, file)[0]
                waiting += [other for other in find_referenced_templates(environment.parse(texts[file])) if other]
    except TemplateNotFound as error:
        raise ConfigError(f"prompt {name!r}: no file {error.name}; there are: {', '.join(names(folder))}") from None
    except TemplateError as error:
        raise ConfigError(f"prompt {name!r}: {error}") from error
    return hashlib.sha256(repr(sorted(texts.items())).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def names(folder: Folders = None) -> list[str]:
    """Names of the prompts that :func:`render` finds."""
    return sorted({path.stem for place in _places(folder) for path in Path(place).glob("*.jinja")})


def _places(folder: Folders) -> tuple[str, ...]:
    own = () if folder is None else (folder,) if isinstance(folder, str | Path) else folder
    return (*map(str, own), str(Path(__file__).parent))


@functools.lru_cache(maxsize=8)
def _environment(places: tuple[str, ...]) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # What a model reads is text, not HTML: nothing is escaped.
    loader = FileSystemLoader(places)
    return Environment(loader=loader, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
