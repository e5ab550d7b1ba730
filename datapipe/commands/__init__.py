"""The commands of ``datapipe``, one file each: ``add_parser(commands)`` and ``run(args) -> int``, light to import.

Exit codes: 0 all is done, 1 everything failed, 2 a fault that the user can repair, 3 stopped before the end (run the
same again to go on), 130 Ctrl-C twice.
"""
