"""Makes the tools an environment of TRL's ``GRPOTrainer``: one instance is one rollout.

::

    environment_class = make_environment(EnvironmentConfig(tools=["crop_video"], max_calls=5))
    GRPOTrainer(..., environment_factory=environment_class)

    environment = environment_class()
    environment.reset(**row)                # overview frames and question; never the answer or the window
    environment.crop_video(video_path="video_1.mp4", start_time=46, end_time=52)

Three kinds of failure stay apart. The model's mistake, a ``ToolError``, becomes a reply that starts with
``Error: ``, the same text as in evaluation and in traces. A video that cannot be decoded fails the rollout, as
in evaluation: it is logged and counted, no tool is run any more, and no reward is given. Only TRL cannot end it
there, so the model is told and writes on. A bug in a tool ends the training: TRL would turn any ``Exception`` into
text for the model, so it is raised as :class:`EnvironmentBug`, which is not one.

It does not score anything: rewards read the transcript.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from longvt_plugins.budget import Budget
from longvt_plugins.conversation import Form, question_blocks
from longvt_plugins.errors import ConfigError, VideoError, VideoNotFoundError
from longvt_plugins.ledger import CALLS_PER_TURN, Ledger
from longvt_plugins.plugins import PluginManager, create_plugin_manager
from longvt_plugins.replies import Replies
from longvt_plugins.rows import Row, parse_row
from longvt_plugins.tools import Tool, ToolContext
from longvt_plugins.transcript import error_reply
from longvt_plugins.types import Block, ToolCall, text_block
from longvt_plugins.video.config import VideoKeys
from longvt_plugins.video.library import VideoLibrary
from longvt_plugins.video.sampling import CROP, OVERVIEW, FrameSampling, Mode, Scaling

if TYPE_CHECKING:
    from PIL.Image import Image

logger = logging.getLogger(__name__)

TRL_METHODS = ("reset", "get_reward")
"""Methods of an environment that TRL calls itself; a tool cannot have such a name."""


_UNREADABLE = "the video cannot be read"


def _key(default: Any, help: str) -> Any:
    """A field whose help text the command line shows."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class EnvironmentConfig(VideoKeys):
    """What a rollout sees and may do. Every field is a key of a recipe for ``longvt grpo``.

    Raises:
        ConfigError: A value that makes no sense, named.
    """

    tools: list[str] = field(
        default_factory=lambda: ["crop_video"], metadata={"help": "Tools that the model may call, by name."}
    )
    max_calls: int | None = _key(5, "Tool calls of one rollout, failed ones included; null for no limit.")
    max_frames: int | None = _key(None, "Frames that the tools of one rollout may return together; null for no limit.")
    max_turns: int | None = _key(
        None,
        "Turns of the model; calls of the last but one are told to answer instead. null: max_calls + 2.",
    )
    calls_per_turn: int = _key(CALLS_PER_TURN, "Tool calls of one turn that are run; further ones are not read.")
    overview_fps: float = _key(OVERVIEW.fps, "Overview: frames per second.")
    overview_min_frames: int = _key(OVERVIEW.min_frames, "Overview: never fewer frames.")
    overview_max_frames: int = _key(OVERVIEW.max_frames, "Overview: never more frames.")
    overview_frame_choices: list[int] | None = field(
        default=None,
        metadata={
            "help": "Overview: one of these takes the place of overview_max_frames, drawn for each question and step, "
            "the same for all rollouts of a group."
        },
    )
    overview_min_pixels: int = _key(OVERVIEW.min_pixels, "Overview: smallest area of a frame in pixels.")
    overview_max_pixels: int = _key(OVERVIEW.max_pixels, "Overview: largest area of a frame in pixels.")
    crop_fps: float = _key(CROP.fps, "crop_video: frames per second.")
    crop_min_frames: int = _key(CROP.min_frames, "crop_video: never fewer frames.")
    crop_max_frames: int = _key(CROP.max_frames, "crop_video: never more frames.")
    crop_min_pixels: int = _key(CROP.min_pixels, "crop_video: smallest area of a frame in pixels.")
    crop_max_pixels: int = _key(CROP.max_pixels, "crop_video: largest area of a frame in pixels.")
    frame_factor: int = _key(OVERVIEW.factor, "Width and height of frames are multiples of this many pixels.")
    sampling_mode: Mode = field(
        default="grid", metadata={"help": "grid: evenly spaced seconds; qwen: the frames of qwen-vl-utils."}
    )
    scaling: Scaling = field(
        default="fast", metadata={"help": "fast: straight to the size shown; exact: as qwen-vl-utils scales."}
    )
    labels: Literal["seconds", "none"] = _key("seconds", "Whether each frame comes after its second as text.")
    form: Form = field(
        default="tool", metadata={"help": "How the model is told to answer: the prompt system_<form>.jinja."}
    )
    prompts_dir: str | None = _key(None, "Folder with prompts of your own.")

    def __post_init__(self) -> None:
        if isinstance(self.tools, str) or not all(isinstance(name, str) for name in self.tools):
            raise ConfigError(f"tools must be a list of names, such as [crop_video], not {self.tools!r}")
        for name in ("max_calls", "max_frames"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):
                raise ConfigError(f"{name} must be a whole number from 0 or null, not {value!r}")
        if self.max_turns is not None and (type(self.max_turns) is not int or self.max_turns < 2):
            raise ConfigError(f"max_turns must be a whole number from 2 or null, not {self.max_turns!r}")
        if type(self.calls_per_turn) is not int or self.calls_per_turn < 1:
            raise ConfigError(f"calls_per_turn must be a whole number from 1, not {self.calls_per_turn!r}")
        choices = self.overview_frame_choices
        if choices is not None and (
            not isinstance(choices, list) or not choices or any(type(count) is not int for count in choices)
        ):
            raise ConfigError(f"overview_frame_choices must be a list of numbers, such as [64, 256], not {choices!r}")
        # Made once here so that a faulty value is told before anything is loaded.
        _ = self.video
        for sampling in ("overview", "crop"):
            try:
                _ = [getattr(self, sampling), *map(self.overview_of, choices or ())]
            except ConfigError as error:
                raise ConfigError(f"{sampling}: {error}") from None
            except TypeError as error:
                raise ConfigError(f"{sampling}: a number is expected: {error}") from None

    @property
    def overview(self) -> FrameSampling:
        """How the whole video is sampled."""
        return self._sampling("overview")

    @property
    def turns(self) -> int | None:
        """Turns of a rollout at most, the answering one among them: see :meth:`.Ledger.reply_tokens`."""
        if self.max_turns is None and self.max_calls is not None:
            return self.max_calls + 2
        return self.max_turns

    def overview_of(self, max_frames: int) -> FrameSampling:
        """How the whole video is sampled with at most so many frames."""
        return replace(self.overview, max_frames=max_frames)

    def overview_for(self, row_id: str, step: int) -> FrameSampling:
        """How the videos of a question are sampled at a step of the training, alike in every process.

        Args:
            row_id: The question's.
            step: With another one another of ``overview_frame_choices`` may be drawn.
        """
        if self.overview_frame_choices is None:
            return self.overview
        drawn = int.from_bytes(hashlib.sha256(f"{step}\n{row_id}".encode(errors="surrogateescape")).digest()[:8])
        return self.overview_of(self.overview_frame_choices[drawn % len(self.overview_frame_choices)])

    @property
    def crop(self) -> FrameSampling:
        """How ``crop_video`` samples."""
        return self._sampling("crop")

    def _sampling(self, name: str) -> FrameSampling:
        keys = ("fps", "min_frames", "max_frames", "min_pixels", "max_pixels")
        values = {key: getattr(self, f"{name}_{key}") for key in keys}
        return FrameSampling(
            **values, mode=self.sampling_mode, labels=self.labels, factor=self.frame_factor, scaling=self.scaling
        )


@dataclass
class Progress:
    """Where the trainer is: an environment sees calls alone, so :mod:`trl_ext.turns` says it to the class.

    Attributes:
        step: Of the training.
        turn: Turns that the rollouts under way have written; None where nobody counts them.
    """

    step: int = 0
    turn: int | None = None


class EnvironmentBug(BaseException):
    """A tool broke, through no fault of the model; the cause is attached.

    It is a ``BaseException`` because TRL shows the model the text of any ``Exception`` and trains on, which would
    hide the bug in the data.
    """


class ToolMethod(dict[str, Any]):
    """The schema of a tool, which can be called with the tool's arguments.

    From a plain method transformers would guess a schema anew, and lose what it cannot express (defaults, unions);
    a dict it renders as it stands. So the model reads the schema that every other host shows.
    """

    def __init__(self, tool: Tool, run: Callable[[Tool, dict[str, Any]], list[Block]]) -> None:
        super().__init__(tool.schema)
        self.__name__ = tool.name
        self._tool = tool
        self._run = run

    def __call__(self, /, **arguments: Any) -> list[Block]:
        """Runs the tool with whatever the model wrote; checking it is the tool's own work."""
        return self._run(self._tool, arguments)


class VideoEnvironment:
    """Base of the classes that :func:`make_environment` builds; it has no tools itself.

    Attributes:
        config: What rollouts of this class see and may do.
        library: The videos of this class, shared by its instances: a group decodes its video once.
        row: What the rollout is about; None before the first reset.
        calls: Tool calls so far, those whose reply TRL dropped for its length among them.
        video_errors: Failures of a video, in a call or at the reset; after the first one nothing is decoded.
        failure: Why the rollout failed, so that it is not to be scored; None if it did not.
        started: When the rollout was reset, on the monotonic clock.
        progress: Of the trainer, shared by the instances.
    """

    config: ClassVar[EnvironmentConfig]
    library: ClassVar[VideoLibrary]
    progress: ClassVar[Progress]
    row: Row | None = None
    calls: int = 0
    video_errors: int = 0
    failure: str | None = None
    started: float = 0.0
    _plugins: ClassVar[PluginManager]
    _tools: ClassVar[tuple[Tool, ...]]
    _ledger: ClassVar[Ledger | None]

    def __init__(self) -> None:
        self._start({})
        for tool in self._tools:
            # TRL finds the tools as functions of the class and takes them from the instance.
            setattr(self, tool.name, ToolMethod(tool, self._run_tool))

    @property
    def frames(self) -> int:
        """Frames that tools have returned so far."""
        return self._context.budget.frames

    @property
    def tool_errors(self) -> int:
        """Calls so far that were the model's mistake."""
        return self._replies.errors

    def reset(self, **row: Any) -> list[Block]:
        """Starts a rollout afresh.

        Args:
            row: A training row's columns; others are left out.

        Returns:
            What the model sees before its first turn: the overview of every video, then the question. Where a
            video cannot be decoded, a blank picture and that it cannot; the rollout has failed then.

        Raises:
            ConfigError: Not a row.
            VideoNotFoundError: A video of the row is not there: the rows are at fault, or a disk is not mounted.
        """
        self.row = parse_row(row, where=f"training row {row.get('id')!r}")
        self._start(self.row["videos"])
        try:
            return question_blocks(
                self.row["question"],
                self._context,
                options=self.row["options"],
                overview=self.config.overview_for(self.row["id"], self.progress.step),
                prompts_dir=self.config.prompts_dir,
            )
        except VideoNotFoundError as error:
            raise VideoNotFoundError(f"training row {self.row['id']!r}: {error}") from error
        except VideoError as error:
            # A picture all the same: where processes share the weights out, they run the vision tower together, and one
            # whose rollouts show nothing would leave the others waiting.
            return [{"type": "image", "image": self._blank()}, *self._fail(error, "the overview")]
        finally:
            self._context.close()

    def _blank(self) -> Image:
        from PIL import Image

        return Image.new("RGB", self.config.overview.size(1, 1))

    def _start(self, videos: Mapping[str, str]) -> None:
        budget = Budget(max_frames=self.config.max_frames, max_calls=self.config.max_calls)
        if self._ledger is not None:
            budget.max_tokens = room_of_replies(self._ledger, self.config)
            budget.count_tokens = self._ledger.count
        self._context = ToolContext(videos, budget=budget, crop=self.config.crop, library=self.library)
        self._replies = Replies(budget, self._ledger)
        self.calls = self.video_errors = 0
        self.failure = None
        self.started = time.monotonic()

    def _run_tool(self, tool: Tool, arguments: dict[str, Any]) -> list[Block]:
        self.calls += 1
        if self.failure is None:
            call = ToolCall(f"call_{self.calls}", tool.name, arguments)
            try:
                return self._replies.answer(
                    lambda: self._plugins.call_tool(tool, self._context, call), last=self._is_last_turn()
                )
            except VideoError as error:
                reply = self._fail(error, f"{tool.name}({arguments})")
            except Exception as error:
                raise EnvironmentBug(f"tool {tool.name!r} broke on {arguments}: {error!r}") from error
            finally:
                # The library keeps as many files open as its bound allows; a batch of 256 rollouts has more.
                self._context.close()
        else:
            reply = [text_block(error_reply(_UNREADABLE))]
        self._context.budget.spend(reply)
        return reply

    def _is_last_turn(self) -> bool:
        """Whether this turn is the last that gets replies.

        Raises:
            ConfigError: Nobody counts the turns.
        """
        if self.config.max_turns is None:
            return False
        if self.progress.turn is None:
            raise ConfigError("max_turns needs trl_ext.turns.follow_turns(trainer), which counts the turns")
        # The trainer runs the calls of one turn less than there are turns.
        return self.progress.turn >= self.config.max_turns - 1

    def _fail(self, error: VideoError, doing: str) -> list[Block]:
        """Marks the rollout as failed; the model is told no more than that, since the error names files."""
        self.video_errors += 1
        self.failure = f"{doing}: {error}"
        logger.warning("row %r is not scored: %s", self.row and self.row["id"], self.failure)
        return [text_block(error_reply(_UNREADABLE))]


def make_environment(
    config: EnvironmentConfig | None = None,
    plugins: PluginManager | None = None,
    ledger: Ledger | None = None,
) -> type[VideoEnvironment]:
    """Builds the environment class of a selection of tools, for ``GRPOTrainer(environment_factory=...)``.

    Args:
        config: What rollouts see and may do, the tools among it.
        plugins: Where the tools and the reader come from; None loads what is installed.
        ledger: Keeps replies within the room of a conversation; None lets TRL drop those that are too long.

    Raises:
        UnknownNameError: A tool or reader is not installed.
        ConfigError: A tool has a name that TRL calls itself, or the ledger has no room for the calls.
    """
    config = config if config is not None else EnvironmentConfig()
    plugins = plugins if plugins is not None else create_plugin_manager()
    tools = plugins.select_tools(config.tools)
    namespace: dict[str, Any] = {
        "__doc__": f"Rollouts with the tools {', '.join(config.tools) or 'none'}.",
        "__module__": __name__,
        "config": config,
        "library": VideoLibrary(config.video, plugins),
        "progress": Progress(),
        "_plugins": plugins,
        "_tools": tuple(tools),
        "_ledger": ledger,
    }
    if ledger is not None:
        room_of_replies(ledger, config)
    for tool in tools:
        if tool.name in TRL_METHODS or hasattr(VideoEnvironment, tool.name):
            raise ConfigError(f"tool {tool.name!r} has a name that TRL's environments use themselves; rename it")
        namespace[tool.name] = _declare(tool)
    return type("VideoEnvironment", (VideoEnvironment,), namespace)


def room_of_replies(ledger: Ledger, config: EnvironmentConfig) -> int:
    """Tokens that the replies of a rollout may have.

    Raises:
        ConfigError: The ledger has no room for the turns.
    """
    return ledger.reply_tokens(config.max_calls, max_turns=config.max_turns, calls_per_turn=config.calls_per_turn)


def _declare(tool: Tool) -> Callable[..., list[Block]]:
    def method(self: VideoEnvironment, /, **arguments: Any) -> list[Block]:
        return self._run_tool(tool, arguments)

    method.__name__ = tool.name
    method.__qualname__ = f"VideoEnvironment.{tool.name}"
    method.__doc__ = tool.description
    return method
