"""The tools for any MCP client: one warm process that opens the videos of the folders it is given, and no others.

folders.py      which files a client may name, and which it may not
server.py       the tools as an MCP server: calls, replies, progress, cancellation
transports.py   how a client reaches it: standard input and output, or streamable HTTP

``longvt mcp`` runs it (:mod:`longvt_plugins.commands.mcp`). Nothing here decides what a tool does: the tools are those
of training and evaluation.
"""
