"""``datapipe review``: a page for people to decide on, files for annotation tools, and their way back.

::

    datapipe review runs/demo filter_vlm --html review.html         # decide there, and save decisions.jsonl
    datapipe review runs/demo filter_vlm --label-studio tasks.json  # tasks, and tasks.labeling.xml for the project
    datapipe review runs/demo filter_vlm --cvat annotations         # an XML for each video, and labels.json
    datapipe review --from-label-studio export.json --decisions decisions.jsonl

The step ``apply_review`` takes ``decisions.jsonl`` back into the pipeline.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

from longvt_plugins.errors import ConfigError

_LOCAL_FILES = "/data/local-files/?d="


def add_parser(commands: Any) -> None:
    """Adds the command's flags."""
    parser = commands.add_parser("review", help="a web page to accept, reject and edit what a step made")
    parser.add_argument("work_dir", type=Path, nargs="?", metavar="WORK_DIR", help="of the run")
    parser.add_argument("step", nargs="?", metavar="STEP", help="whose questions or traces are reviewed")
    parser.add_argument("--html", type=Path, metavar="PATH", help="the page: one .html file, or a folder")
    parser.add_argument("--dropped", action="store_true", help="review what the step dropped, not what it kept")
    parser.add_argument("--limit", type=int, default=None, metavar="N", help="so many at most")
    parser.add_argument("--frames", type=int, default=None, metavar="N", help="of each question")
    parser.add_argument("--label-studio", type=Path, metavar="FILE", help="tasks for Label Studio")
    parser.add_argument(
        "--video-root", type=Path, metavar="DIR", help="folder that Label Studio serves as its local files"
    )
    parser.add_argument("--cvat", type=Path, metavar="DIR", help="annotations for CVAT, a file for each video")
    parser.add_argument("--from-label-studio", type=Path, metavar="FILE", help="reads what Label Studio exported")
    parser.add_argument("--decisions", type=Path, metavar="FILE", help="where decisions are written")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Does what was asked for."""
    try:
        return _take_back(args) if args.from_label_studio is not None else _give_out(args)
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be written: {error.strerror}") from error


def _take_back(args: argparse.Namespace) -> int:
    from datapipe.review.decisions import write_decisions
    from datapipe.review.label_studio import read_annotations

    if args.decisions is None:
        raise ConfigError("say with --decisions where the decisions are to be written")
    count = write_decisions(read_annotations(args.from_label_studio), args.decisions)
    sys.stdout.write(f"{count} decisions in {args.decisions}\n")
    return 0


def _give_out(args: argparse.Namespace) -> int:
    from datapipe.review.entries import MOST_ENTRIES, gather
    from datapipe.workdir import open_stores, planned_steps

    if args.work_dir is None or args.step is None:
        raise ConfigError("say what is to be reviewed: datapipe review WORK_DIR STEP --html review.html")
    if args.html is None and args.label_studio is None and args.cvat is None:
        raise ConfigError("say what is to be written: --html, --label-studio or --cvat")
    for name in ("limit", "frames"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise ConfigError(f"--{name} must be at least 1, not {getattr(args, name)}")
    with ExitStack() as stack:
        stores = open_stores(args.work_dir)
        for store in stores:
            stack.callback(store.close)
        entries = gather(
            stores,
            args.step,
            planned_steps(args.work_dir, stores),
            dropped=args.dropped,
            limit=args.limit or MOST_ENTRIES,
        )
    if args.html is not None:
        _write_page(args, entries)
    if args.label_studio is not None:
        _write_tasks(args, entries)
    if args.cvat is not None:
        _write_cvat(args, entries)
    return 0


def _write_page(args: argparse.Namespace, entries: Any) -> None:
    from datapipe.review.page import FRAMES, write_review_page

    failures = write_review_page(
        entries, args.html, title=f"{args.work_dir}, {args.step}", frames=args.frames or FRAMES
    )
    for path, reason in failures.items():
        sys.stderr.write(f"datapipe: no frames of {path}: {reason}\n")
    sys.stdout.write(f"{len(entries)} to review in {args.html}\n")


def _write_tasks(args: argparse.Namespace, entries: Any) -> None:
    from datapipe.review.label_studio import LABELING, write_tasks

    root = None if args.video_root is None else args.video_root.absolute()

    def url(path: str) -> str:
        if root is None:
            return path
        if not Path(path).is_relative_to(root):
            raise ConfigError(f"{path} does not lie in --video-root {root}, so Label Studio cannot serve it")
        return _LOCAL_FILES + Path(path).relative_to(root).as_posix()

    write_tasks(entries, args.label_studio, url=url)
    labeling = args.label_studio.with_suffix(".labeling.xml")
    labeling.write_text(LABELING, encoding="utf-8")
    sys.stdout.write(f"{len(entries)} tasks in {args.label_studio}; the labelling interface is {labeling}\n")


def _write_cvat(args: argparse.Namespace, entries: Any) -> None:
    from datapipe.review.cvat import LABEL, write_cvat

    by_video = sorted(entries, key=lambda entry: (entry.video, entry.start))
    count = 0
    for video, own in groupby(by_video, key=lambda entry: entry.video):
        write_cvat(list(own), args.cvat / f"{video}.xml")
        count += 1
    (args.cvat / "labels.json").write_text(json.dumps(LABEL, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"annotations of {count} videos in {args.cvat}; their labels are {args.cvat / 'labels.json'}\n")
