"""The page, with Gradio: a video and a question on the left, answers as they grow, the frames of a look below.

::

    app = build_app(asker, VideoChoice(["films"]))
    address = launch(app, host="127.0.0.1", port=7860)

One question is answered at a time, others wait. The page loads nothing from other machines and tells nobody of its use.
Uploaded files lie in Gradio's temporary folder and are deleted after a day.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longvt_plugins.asking.questions import question_row
from longvt_plugins.errors import ConfigError, LongvtError, MissingExtraError
from longvt_plugins.ui.conversation import STYLE, Conversation
from longvt_plugins.ui.videos import VideoChoice

if TYPE_CHECKING:
    import gradio

    from longvt_plugins.asking import Asker
    from longvt_plugins.events import Event

REFRESH_SECONDS = 0.1
"""Text that arrives faster is shown together."""

UPLOAD_MAX = "2gb"
LONGEST_QUESTION = 4000
MAX_SESSIONS = 16
"""Open pages whose frames are kept; older ones must ask again."""

_DAY = 86_400

_HINT = "Click a window on the time line, or what stands under a turn, to see the frames that the model saw."

_CLICK = """
element.addEventListener('click', event => {
  const look = event.target.closest('[data-look]');
  if (look) trigger('click', {look: Number(look.dataset.look)});
});
"""


def build_app(asker: Asker, choice: VideoChoice) -> gradio.Blocks:
    """Builds the page.

    Args:
        asker: Answers.
        choice: Videos of this machine that may be opened.

    Raises:
        MissingExtraError: Gradio is not installed.
    """
    gr = _gradio()
    tools = offered_tools(asker)
    names = choice.names()

    def answer(
        chosen: str | None, uploaded: str | None, question: str, picked: list[str], compare: bool
    ) -> Iterator[tuple[str, str, list[Conversation], Any]]:
        try:
            video = _video(choice, chosen, uploaded)
            row = question_row(video, question[:LONGEST_QUESTION])
        except LongvtError as error:
            raise gr.Error(str(error), print_exception=False) from None
        known = tuple(name for name in picked if name in tools)
        ways: list[tuple[Conversation, dict[str, Any]]] = []
        if known:
            ways.append((Conversation(f"with {', '.join(known)}"), {"form": "tool", "tools": known}))
        if compare or not known:
            ways.append((Conversation("without a tool"), {"form": "non_think"}))
        conversations = [conversation for conversation, _ in ways]
        try:
            for _ in _watched(asker, row, ways):
                yield (*_pages(conversations), conversations, gr.skip())
        except LongvtError as error:
            raise gr.Error(str(error), print_exception=False) from None
        yield (*_pages(conversations), conversations, _frames(gr, conversations, 0, len(conversations[0].looks) - 1))

    def look_at(side: int) -> Any:
        def show(conversations: list[Conversation], event: Any) -> Any:
            number = getattr(event, "look", None)
            return _frames(gr, conversations, side, number if isinstance(number, int) else -1)

        show.__annotations__["event"] = gr.EventData
        return show

    with gr.Blocks(title="longvt", analytics_enabled=False, delete_cache=(_DAY, _DAY)) as app:
        gr.Markdown(f"### Ask about a video\n{_HINT}")
        gr.Textbox(asker.model.name, label="Model", interactive=False, max_lines=1)
        with gr.Row():
            with gr.Column(scale=1):
                chosen = gr.Dropdown(names, value=names[0] if names else None, label="Video", visible=bool(names),
                                     elem_id="chosen")  # fmt: skip
                uploaded = gr.Video(
                    label="Or a file of yours, which comes first", sources=["upload"], elem_id="uploaded", height=220
                )
                question = gr.Textbox(label="Question", lines=2, max_length=LONGEST_QUESTION, elem_id="question")
                picked = gr.CheckboxGroup(tools, value=list(asker.config.tools), label="Tools", elem_id="tools")
                compare = gr.Checkbox(label="Compare with an answer without tools", elem_id="compare")
                go = gr.Button("Ask", variant="primary", elem_id="ask")
            with gr.Column(scale=2):
                with gr.Row():
                    sides = [gr.HTML(js_on_load=_CLICK, elem_id=f"answer-{side}", padding=True) for side in (0, 1)]
                gallery = gr.Gallery(label="Frames that the model saw", columns=6, height=320, object_fit="contain",
                                     elem_id="frames", format="png", interactive=False)  # fmt: skip
        state = gr.State([], time_to_live=_DAY)
        inputs = [chosen, uploaded, question, picked, compare]
        for start in (go.click, question.submit):
            start(answer, inputs, [*sides, state, gallery], concurrency_limit=1, concurrency_id="model", api_name=False)
        for side, html in enumerate(sides):
            html.click(look_at(side), [state], [gallery], api_name=False, show_progress="hidden")
    return app


def offered_tools(asker: Asker) -> list[str]:
    """The asker's own tools as they are configured, and all others that need no configuration."""
    configured = list(asker.config.tools)
    taken = {specification.partition(":")[0] for specification in configured}
    others = []
    for name in asker.plugins.tools:
        if name in taken:
            continue
        with contextlib.suppress(ConfigError):  # one that needs a file or a model of its own
            asker.plugins.select_tools([name])
            others.append(name)
    return [*configured, *others]


def launch(app: gradio.Blocks, *, host: str = "127.0.0.1", port: int = 7860, browser: bool = False) -> str:
    """Serves the page in threads of its own.

    Args:
        app: From :func:`build_app`.
        host: ``"0.0.0.0"`` answers other machines too.
        port: 0 takes a free one.
        browser: Opens it.

    Returns:
        Its address.

    Raises:
        ConfigError: The port is taken.
    """
    gr = _gradio()
    try:
        _, local, _ = app.queue(max_size=16).launch(
            server_name=host,
            # Gradio takes None for "any that is free, from 7860 on".
            server_port=port or None,
            prevent_thread_lock=True,
            share=False,
            inbrowser=browser,
            quiet=True,
            ssr_mode=False,
            max_file_size=UPLOAD_MAX,
            state_session_capacity=MAX_SESSIONS,
            footer_links=[],
            mcp_server=False,
            enable_monitoring=False,
            theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]),
            css=STYLE,
        )
    except OSError as error:
        raise ConfigError(f"{host}:{port} cannot be used: {error}; choose another with --port") from None
    return str(local)


def _gradio() -> Any:
    try:
        import gradio
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise MissingExtraError("gradio", "ui", "for longvt ui") from None
    return gradio


def _video(choice: VideoChoice, chosen: str | None, uploaded: str | None) -> Path:
    """The upload where there is one: who gave it a moment ago means it."""
    if uploaded:
        return Path(uploaded)
    if not chosen:
        raise ConfigError("open a video first")
    return choice.path(chosen)


def _watched(asker: Asker, row: Any, ways: Sequence[tuple[Conversation, dict[str, Any]]]) -> Iterator[None]:
    """Answers in a thread, and says now and then that there is more to see."""
    events: queue.SimpleQueue[BaseException | bool] = queue.SimpleQueue()

    def run() -> None:
        try:
            asyncio.run(answer_all())
        except BaseException as error:  # noqa: BLE001 - it is raised again below, in the thread that waits
            events.put(error)
        else:
            events.put(True)

    async def answer_all() -> None:
        async def one(conversation: Conversation, settings: dict[str, Any]) -> None:
            def watch(event: Event) -> None:
                conversation(event)
                events.put(False)

            conversation.finish(await asker.answer(row, watch=watch, **settings))

        try:
            await asyncio.gather(*(one(*way) for way in ways))
        finally:
            await asker.close_connections()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            told = events.get()
            with contextlib.suppress(queue.Empty):
                while told is False:
                    told = events.get(timeout=REFRESH_SECONDS)
            if isinstance(told, BaseException):
                raise told
            yield
            if told is True:
                return
    finally:
        # One question at a time, also where the one who asked has gone.
        thread.join()


def _pages(conversations: Sequence[Conversation]) -> tuple[str, str]:
    return conversations[0].html(), conversations[1].html() if len(conversations) > 1 else ""


def _frames(gr: Any, conversations: Sequence[Conversation], side: int, number: int) -> Any:
    if not (side < len(conversations) and 0 <= number < len(conversations[side].looks)):
        return gr.skip()
    look = conversations[side].looks[number]
    return gr.update(value=look.frames, label=f"{conversations[side].title}, {look.title}: frames that the model saw")
