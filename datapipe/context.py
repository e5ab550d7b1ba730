"""What a step gets for one record: a chat client, videos, prompts, a seed, and a folder for temporary files.

::

    async def work(self, record: Segment, context: StepContext) -> Outcome[Caption]:
        frames = await context.in_thread(self._frames, context.videos.open(record.path), record.span)
        prompt = context.render("caption", seconds=record.span.seconds)
        reply = await context.ask([{"role": "user", "content": [*frames, text_block(prompt)]}], CaptionReply)

Everything asked through it is counted for the record, held to the run's one limit of requests, and sent with a seed
that belongs to the record: a run that is repeated finds its replies in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from datapipe import asking
from datapipe.records import stable_number
from longvt_plugins.errors import BudgetExceededError, ChatError, ChatRequestError, ChatUnavailableError, ConfigError
from longvt_plugins.types import Message

if TYPE_CHECKING:
    from pathlib import Path

    from datapipe.toolbox import Model, Toolbox
    from longvt_plugins.chat import Completion
    from longvt_plugins.plugins import PluginManager
    from longvt_plugins.video.library import VideoLibrary

P = ParamSpec("P")
T = TypeVar("T")

SEEDS = 2**31
"""Servers take seeds of 32 bits with a sign."""

KEY_REFUSALS = (401, 403, 404)
"""Of HTTP: the key or the model is wrong, for every record alike."""


def is_everybodys(error: BaseException) -> bool:
    """Whether an error says something about the server or the purse rather than about one record."""
    if isinstance(error, ChatRequestError):
        return error.status in KEY_REFUSALS or error.status is None
    return isinstance(error, ChatUnavailableError | BudgetExceededError)


@dataclass
class Spent:
    """What the replies for one record were worth, whether they were paid now or kept from an earlier run.

    Attributes:
        replies: How many.
        cost: US dollars.
        prompt_tokens: Read.
        completion_tokens: Written.
        trouble: The last error that :func:`is_everybodys`, which a step may have caught.
    """

    replies: int = 0
    cost: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    trouble: ChatError | None = None


@dataclass
class StepContext:
    """What a step gets for one record.

    Attributes:
        toolbox: What all records share.
        seed: Of this record: of the run's seed, the step, the record's id and how often it was tried before.
        make_temp: Makes the temporary folder when it is first wanted.
        beside: Records of the same video that other steps made, by the names in ``Step.beside``.
        model: Who is asked; None where the recipe gives the step nobody.
        prompt_folder: Where the step's prompts lie.
        spent: What its replies were worth so far.
    """

    toolbox: Toolbox
    seed: int
    make_temp: Callable[[], Path]
    beside: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    model: Model | None = None
    prompt_folder: Path | None = None
    spent: Spent = field(default_factory=Spent)

    @property
    def temp(self) -> Path:
        """A folder of its own, removed afterwards."""
        return self.make_temp()

    @property
    def videos(self) -> VideoLibrary:
        """Opens videos: ``context.videos.open(record.path)``. Decoding belongs into :meth:`in_thread`."""
        return self.toolbox.videos

    @property
    def plugins(self) -> PluginManager:
        """Tools, judges and readers."""
        return self.toolbox.plugins

    @property
    def chat(self) -> RecordChat:
        """The step's model, a :class:`~longvt_plugins.chat.ChatBackend`, as for :func:`run_agent`.

        Raises:
            ConfigError: The recipe gives the step none.
        """
        return self.sample(0)

    def sample(self, number: int) -> RecordChat:
        """The same with another seed, for several samples of one conversation.

        Args:
            number: Which sample; 0 is :attr:`chat`.
        """
        if self.model is None:
            raise ConfigError(
                "this step asks a model: give it one (models: in the recipe, --model on the command line)"
            )
        seed = self.seed if number == 0 else stable_number(self.seed, number, below=SEEDS)
        return RecordChat(self.model, seed, self.spent, self.toolbox)

    def render(self, name: str, **values: Any) -> str:
        """One of the step's prompts, filled; a name that nobody fills raises.

        Args:
            name: One of ``Step.prompts``.
            values: What the template asks for.

        Raises:
            ConfigError: No such prompt, a faulty one, or one with a name left unfilled.
        """
        return self.toolbox.render(name, self.prompt_folder, **values)

    async def ask(
        self,
        messages: Sequence[Message],
        reply_type: type[T],
        *,
        max_tokens: int = 1024,
        temperature: float = 0.0,
    ) -> T:
        """A reply of a type, see :func:`datapipe.asking.ask`."""
        return await asking.ask(self.chat, messages, reply_type, max_tokens=max_tokens, temperature=temperature)

    @contextmanager
    def paying(self) -> Iterator[Callable[[float], None]]:
        """Holds whatever asks somebody without this context, such as a judge, to the run's budget.

        Yields:
            What is told the US dollars that it cost.

        Raises:
            BudgetExceededError: Another that is as dear as the dearest so far would cost more than is left.
        """
        try:
            with self.toolbox.budget.reserve(self.toolbox.dearest):
                yield self._pay
        except BudgetExceededError as error:
            self.spent.trouble = error
            raise

    def _pay(self, dollars: float) -> None:
        self.toolbox.budget.pay(dollars)
        self.toolbox.dearest = max(self.toolbox.dearest, dollars)
        self.spent.cost += dollars

    async def in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Work that computes or waits for the disk; as many at once as the run has workers."""
        return await self.toolbox.in_thread(function, *args, **kwargs)


class RecordChat:
    """The chat client as one record sees it; see :class:`~longvt_plugins.chat.ChatClient` for its arguments.

    Args:
        model: Who is asked.
        seed: Sent where the caller gives none.
        spent: Counted here.
        toolbox: Holds the run's limit.
    """

    def __init__(self, model: Model, seed: int, spent: Spent, toolbox: Toolbox) -> None:
        self._model = model
        self._seed = seed
        self._spent = spent
        self._toolbox = toolbox

    @property
    def model(self) -> str:
        """Its name."""
        return self._model.config.model

    async def complete(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        max_tokens: int,
        temperature: float = 0.0,
        response_schema: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> Completion:
        """Asks the server, or the cache.

        Raises:
            ChatError: As the client raises it.
        """
        try:
            completion = await self._model.client.complete(
                messages,
                tools,
                max_tokens=max_tokens,
                temperature=temperature,
                response_schema=response_schema,
                seed=self._seed if seed is None else seed,
            )
        except ChatError as error:
            if is_everybodys(error):
                self._spent.trouble = error
            raise
        self._spent.replies += 1
        self._spent.prompt_tokens += completion.prompt_tokens
        self._spent.completion_tokens += completion.completion_tokens
        worth = self._model.config.price(completion.prompt_tokens, completion.completion_tokens)
        self._spent.cost += worth or completion.cost
        return completion
