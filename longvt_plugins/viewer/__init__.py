"""Rollouts as a web page, with the frames that the model saw on a time line."""

from longvt_plugins.viewer.page import PageLimits, write_page

__all__ = ["PageLimits", "write_page"]
