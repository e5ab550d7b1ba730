"""The sub-commands of ``longvt``, one file each; :mod:`longvt_plugins.cli` names them.

A command's module is light to import and has either of two shapes::

    def add_parser(subparsers) -> None: ...     # its options, for argparse
    def run(args: argparse.Namespace) -> int: ...

    def run(argv: list[str]) -> int: ...        # no add_parser: gets all that follows its name, untouched

What is heavy (torch, av, a trainer) is imported inside ``run``.
"""
