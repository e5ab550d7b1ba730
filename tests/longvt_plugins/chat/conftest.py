"""Clocks that nobody has to wait for."""

import asyncio
from dataclasses import dataclass, field

import pytest

from longvt_plugins.chat.limits import Clock


@dataclass
class Jumps:
    """A clock on which a sleep takes no time and is written down; for one conversation at a time."""

    time: float = 1000.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.time += seconds
        await asyncio.sleep(0)

    @property
    def clock(self):
        return Clock(now=lambda: self.time, wall=lambda: self.time + 1e9, sleep=self.sleep)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on which time passes only while everybody waits, and then at once."""

    def __init__(self):
        super().__init__()
        self._passed = 0.0
        wait = self._selector.select

        def select(timeout=None):
            if timeout is not None and timeout > 0:
                self._passed += timeout
                timeout = 0
            return wait(timeout)

        self._selector.select = select

    def time(self):
        return self._passed


@pytest.fixture
def jumps():
    return Jumps()


@pytest.fixture
def virtual():
    """Runs a function of a clock in virtual time: ``virtual(lambda clock: ...)``."""

    def run(work):
        loop = VirtualLoop()

        async def main():
            # asyncio.timeout, asyncio.sleep and this clock agree.
            return await work(Clock(now=loop.time, wall=loop.time, sleep=asyncio.sleep))

        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(main())

    return run
