"""How much a step will have to do, reckoned before anything is spent: for ``datapipe run --dry-run``.

>>> Amount(videos=10, seconds=36_000, records=10)
Amount(videos=10, seconds=36000, records=10)
>>> Caption().estimate(Amount(videos=10, seconds=36_000, records=400))
Estimate(records=3600, requests=3600, prompt_tokens=2592000, completion_tokens=540000)

These are a step's own guesses, from lengths and counts. What a run has measured already takes their place.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Amount:
    """What a step is given.

    Attributes:
        videos: How many.
        seconds: Of all of them together.
        records: How many records the step before has made of them.
    """

    videos: float
    seconds: float
    records: float


@dataclass(frozen=True)
class Estimate:
    """What a step will do with it.

    Attributes:
        records: How many it keeps, which are the next step's.
        requests: To a chat server.
        prompt_tokens: Read by the model, those of images included.
        completion_tokens: Written by it.
    """

    records: float
    requests: float = 0.0
    prompt_tokens: float = 0.0
    completion_tokens: float = 0.0
