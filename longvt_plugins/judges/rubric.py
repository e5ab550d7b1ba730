"""What a judge is to look at and which scores it may give: ``graded``, ``binary``, or a file of the user's own.

::

    # strict.yaml
    scores: {right: 1, close: 0.5, wrong: 0}        # words and what they are worth, from 0 to 1
    criteria: |                                     # what each score means
      1 (right): ...

In place of ``criteria`` a file may give the whole ``prompt``, a jinja template that asks for a score in its own
words, as where a published number is to be had again. A ``.jinja`` file is such a template; its first line is a
comment with the scores: ``{# scores: {right: 1, wrong: 0} #}``. A template gets ``question``, ``reference``,
``answer`` and ``options`` (empty without any), each quoted, see :mod:`longvt_plugins.judges.quoting`.

A rubric says nothing of servers and models.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from longvt_plugins.errors import ConfigError

FOLDER = Path(__file__).parent / "rubrics"

MAX_BYTES = 100_000
MAX_SCORES = 20

_FIRST_COMMENT = re.compile(r"\A\s*\{#-?(.*?)-?#\}", re.DOTALL)
_TEMPLATE_NAMES = ("question", "reference", "answer", "options")


@dataclass(frozen=True)
class Rubric:
    """How answers are judged.

    Attributes:
        name: ``graded``, ``binary``, or the file's name without its ending.
        scores: What each word is worth.
        criteria: What each score means; empty where there is a prompt.
        prompt: A whole template instead.
        hash: Names exactly this rubric.
    """

    name: str
    scores: dict[str, float]
    criteria: str = ""
    prompt: str = ""
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        written = repr((sorted(self.scores.items()), self.criteria.strip(), self.prompt.strip()))
        object.__setattr__(self, "hash", hashlib.sha256(written.encode()).hexdigest()[:8])

    @property
    def scale(self) -> tuple[float, ...]:
        """The scores, from the best to the worst."""
        return tuple(sorted(set(self.scores.values()), reverse=True))

    def render(self, **quoted: str) -> str:
        """The prompt, filled.

        Args:
            quoted: ``question``, ``reference``, ``answer`` and ``options``, quoted.

        Raises:
            ConfigError: The template cannot be filled.
        """
        from jinja2 import TemplateError

        try:
            return str(self._template.render(quoted)).strip()
        except TemplateError as error:
            raise ConfigError(f"rubric {self.name}: {error}") from error

    @functools.cached_property
    def _template(self) -> Any:
        from jinja2 import StrictUndefined
        from jinja2.sandbox import SandboxedEnvironment

        return SandboxedEnvironment(undefined=StrictUndefined, autoescape=False).from_string(self.prompt)

    def verdict(self, score: float) -> str:
        """The verdict's one word: ``correct`` for the best score, ``wrong`` for the worst, else ``partly``."""
        return "correct" if score == self.scale[0] else "wrong" if score == self.scale[-1] else "partly"


def rubric_names() -> list[str]:
    """The rubrics that come with the project."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_rubric(name: str | Path) -> Rubric:
    """Reads a rubric.

    Args:
        name: One of :func:`rubric_names`, or a ``.yaml`` or ``.jinja`` file.

    Raises:
        ConfigError: No such rubric, or a faulty file; the message is one line and names the fault.
    """
    path = FOLDER / f"{name}.yaml" if str(name) in rubric_names() else Path(name)
    if path.suffix not in (".yaml", ".yml", ".jinja"):
        raise ConfigError(
            f"no rubric {str(name)!r}; there are {', '.join(rubric_names())}, or give a .yaml or .jinja file"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"rubric {path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"rubric {path}: larger than {MAX_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"rubric {path}: not UTF-8") from None
    return _read_template(path, text) if path.suffix == ".jinja" else _read_fields(path, _yaml(path, text))


def _read_template(path: Path, text: str) -> Rubric:
    comment = _FIRST_COMMENT.match(text)
    fields = _yaml(path, comment[1]) if comment else None
    if not isinstance(fields, dict) or "scores" not in fields:
        raise ConfigError(
            f"rubric {path}: begin the template with a comment such as {{# scores: {{right: 1, wrong: 0}} #}}"
        )
    return _read_fields(path, {**fields, "prompt": text[comment.end() :] if comment else text})


def _read_fields(path: Path, fields: Any) -> Rubric:
    from pydantic import ConfigDict, Field, ValidationError, create_model

    word = Annotated[str, Field(min_length=1, max_length=40)]
    score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    scores = Annotated[dict[word, score], Field(min_length=2, max_length=MAX_SCORES)]
    config = ConfigDict(extra="forbid", title="rubric")
    schema: Any = create_model("Rubric", __config__=config, scores=(scores, ...), criteria=(str, ""), prompt=(str, ""))
    try:
        given = schema.model_validate(fields).model_dump()
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}" for fault in error.errors())
        raise ConfigError(f"rubric {path}: {'; '.join(faults)}") from None
    criteria, prompt = given["criteria"], given["prompt"]
    if bool(criteria.strip()) == bool(prompt.strip()):
        raise ConfigError(f"rubric {path}: give either criteria or prompt")
    rubric = Rubric(path.stem, given["scores"], criteria, prompt)
    if len(rubric.scale) < 2:
        raise ConfigError(f"rubric {path}: all scores are worth the same")
    if prompt:
        _check_template(path, prompt)
    return rubric


def _check_template(path: Path, prompt: str) -> None:
    from jinja2 import TemplateError, meta
    from jinja2.sandbox import SandboxedEnvironment

    try:
        used = meta.find_undeclared_variables(SandboxedEnvironment().parse(prompt))
    except TemplateError as error:
        raise ConfigError(f"rubric {path}: {error}") from None
    if unknown := sorted(used - set(_TEMPLATE_NAMES)):
        raise ConfigError(
            f"rubric {path}: the template names {', '.join(unknown)}; there are {', '.join(_TEMPLATE_NAMES)}"
        )
    if missing := sorted({"answer", "reference"} - used):
        raise ConfigError(f"rubric {path}: the template must show {' and '.join(missing)}")


def _yaml(path: Path, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"rubric {path}: {' '.join(str(error).split())}") from None
