"""SIGINT ends what follows events, at whatever moment it arrives."""

import subprocess
import sys

SIGNAL_BEFORE_SLEEP = """
import asyncio, ctypes, functools, operator, os, selectors, signal
from rosterd.commands import until_interrupt

class Poll:
    # Sends the signal and sleeps within one call into C: the interpreter cannot look for signals between the two.
    def __init__(self, real):
        self.real = real

    def __getattr__(self, name):
        return getattr(self.real, name)

    def poll(self, timeout, events):
        calls = [functools.partial(self.real.poll, timeout, events)]
        if timeout > 1.0:
            calls.insert(0, functools.partial(ctypes.CDLL(None).kill, os.getpid(), int(signal.SIGINT)))
        return list(map(operator.call, calls))[-1]

def make_loop():
    selector = selectors.EpollSelector()
    selector._selector = Poll(selector._selector)
    return asyncio.SelectorEventLoop(selector)

with asyncio.Runner(loop_factory=make_loop) as runner:
    runner.run(until_interrupt(asyncio.sleep(3600)))
"""


def test_signal_that_arrives_just_before_the_loop_sleeps_ends_the_work() -> None:
    """The loop is woken, although the interpreter looks for signals only after the sleep."""
    done = subprocess.run(
        [sys.executable, "-c", SIGNAL_BEFORE_SLEEP], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
