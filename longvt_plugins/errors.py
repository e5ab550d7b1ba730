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
    │   ├── NotAVideoError      a file, but no video stream in it
    │   ├── DamagedVideoError   a video whose data cannot be decoded
    │   └── OutsideVideoError   a time before the start or after the end
    └── ChatError               a chat server could not be asked, or gave no usable reply

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


class DamagedVideoError(VideoError):
    """The video's data cannot be decoded where it was needed."""


class OutsideVideoError(VideoError):
    """A time lies outside the video."""


class ChatError(LongvtError):
    """A chat server could not be asked, or gave no usable reply."""
