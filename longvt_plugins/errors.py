"""Everything that can go wrong, as one tree.

::

    LongvtError
    ├── ToolError               the model's mistake: its text goes back to the model, which tries again
    ├── ConfigError             the user's mistake in a recipe, a flag or a data file
    ├── MissingExtraError       an optional dependency is not installed; the message is the install line
    ├── PluginError             a plugin cannot be loaded or breaks its contract
    │   ├── UnknownNameError    no such tool, reader, judge or step
    │   └── DuplicateNameError  two plugins give one name
    ├── VideoError              a video file cannot give what was asked of it
    │   ├── VideoNotFoundError  no file there
    │   ├── NotAVideoError      a file, but no video in it that can be read
    │   │   └── NoVideoStreamError  a container that holds sound or subtitles alone
    │   ├── DamagedVideoError   a video whose data cannot be decoded
    │   ├── OutsideVideoError   a time before the start or after the end
    │   ├── VideoTimeoutError   reading took longer than allowed
    │   ├── VideoInterruptedError   reading was given up, since nobody waits for it
    │   └── VideoReaderCrashError   the process that decoded it broke down
    ├── JudgeError              a judge that cannot be trusted with a reward
    │   └── JudgeDownError      it has given no verdict for longer than allowed
    ├── EvaluationError         an evaluation whose numbers cannot be trusted
    └── ChatError               a chat server could not be asked, or gave no usable reply
        ├── ChatUnavailableError    no connection, no reply in time, or overloaded, after all tries
        ├── ChatRequestError        the server refuses this request; the same request would be refused again
        ├── ChatReplyError          a reply that holds no turn, after all tries
        └── BudgetExceededError     the money set aside for requests is used up; nothing was sent

A message is one line: what happened, to what, what exists, what to do. A record of the data pipeline
that is thrown away is not an exception but a ``Dropped`` outcome.
"""


class LongvtError(Exception):
    """Base of every error that this project raises on purpose."""


class ToolError(LongvtError):
    """The model called a tool wrongly. The text is read by the model: say what is wrong and what is possible."""


class ConfigError(LongvtError):
    """A recipe, a flag or a data file that cannot be used as it stands."""


class MissingExtraError(LongvtError):
    """An optional dependency is missing.

    Args:
        package: The package that could not be imported.
        extra: The extra of this distribution that brings it.
        purpose: What it is needed for, as in "to decode with decord".
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{package} is needed {purpose}: pip install 'longvt-plugins[{extra}]'")
        self.package = package
        self.extra = extra


class PluginError(LongvtError):
    """A plugin cannot be loaded, or breaks its contract."""


class UnknownNameError(PluginError):
    """Nothing is registered under this name."""


class DuplicateNameError(PluginError):
    """Two plugins register the same name."""


class VideoError(LongvtError):
    """A video file cannot give what was asked of it."""


class VideoNotFoundError(VideoError):
    """There is no such file."""


class NotAVideoError(VideoError):
    """The file exists but holds no video stream that can be read."""


class NoVideoStreamError(NotAVideoError):
    """The file is a container of sound, subtitles or data, without a video stream."""


class DamagedVideoError(VideoError):
    """The video's data cannot be decoded where it was needed.

    Args:
        message: One line.
        readable_until: Seconds from the first frame up to which frames can be had, where the rest of the
            file is missing; None where the damage lies inside.
        damaged_packets: How many packets near the moment asked for could not be decoded.
    """

    def __init__(self, message: str, *, readable_until: float | None = None, damaged_packets: int = 0) -> None:
        super().__init__(message)
        self.readable_until = readable_until
        self.damaged_packets = damaged_packets


class OutsideVideoError(VideoError):
    """A time lies outside the video, or a box outside its frame.

    Args:
        message: One line.
        duration: Seconds that the video lasts, where a time was asked for.
    """

    def __init__(self, message: str, *, duration: float | None = None) -> None:
        super().__init__(message)
        self.duration = duration


class VideoTimeoutError(VideoError):
    """Reading took longer than allowed.

    Args:
        message: One line.
        seconds: The limit.
    """

    def __init__(self, message: str, *, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class VideoInterruptedError(VideoError):
    """Reading was given up, because nobody waits for the frames any more."""


class VideoReaderCrashError(VideoError):
    """The process in which a reader worked ended, as by a fault in a decoder's C code."""


class JudgeError(LongvtError):
    """A judge that cannot be trusted with a reward: it fails on questions whose verdict is known."""


class JudgeDownError(JudgeError):
    """A judge has given no verdict for longer than allowed, so nothing can be learnt for now."""


class EvaluationError(LongvtError):
    """An evaluation that ran, and whose numbers cannot be trusted: tasks are missing, or too many questions failed."""


class ChatError(LongvtError):
    """A chat server could not be asked, or gave no usable reply."""


class ChatUnavailableError(ChatError):
    """No connection, no reply in time, or an overloaded server, after all tries."""


class ChatRequestError(ChatError):
    """The server refuses the request, and would refuse it again.

    Args:
        message: One line, with the server's reason.
        status: Of the HTTP reply; None where the request was not sent.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class ChatReplyError(ChatError):
    """The server replied, but with nothing that is a turn of a conversation, after all tries."""


class BudgetExceededError(ChatError):
    """The money set aside for requests is used up. Raised before a request, never after one."""
