"""A call and a number of seconds into the call's result, or TimeLimit when it runs on.

The seconds are processor time, so that a slow or busy machine does not make a right answer late; a call that sleeps
instead of working gets PATIENCE times as long by the clock.

In the main thread a signal interrupts the call; in other threads, and where the system has no such signal, an
exception is set in the thread from outside. Both try again and again, so that a loop which catches everything is
stopped too, as soon as one interruption falls outside its `try`. Neither stops a single call into compiled code that
never comes back (a `jax.lax.while_loop` without end): nothing inside the process can. The caller is told instead: `stuck`
is called once, from another thread, when a call has not ended GRACE seconds after its interruption.
"""

import contextlib
import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

LOOK = 0.05  # seconds between one look at the clock and the next
AGAIN = 0.001  # seconds between one interruption and the next
PATIENCE = 6
GRACE = 5.0  # seconds between the interruption of a call and the word that it can't be interrupted


class TimeLimit(BaseException):
    """The call ran longer than it may. Not an `Exception`, so `except Exception` in the call does not swallow it."""


def limited(call: Callable[[], Any], *, seconds: float, stuck: Callable[[], None] | None = None) -> Any:
    """What `call()` returns. `stuck()` is called where it should have been stopped and can't be.

    Raises:
        TimeLimit: it is not done after `seconds` of processor time, or PATIENCE times as many by the clock.

    >>> limited(lambda: 1 + 1, seconds=5)
    2
    """
    work_ends, clock_ends = time.process_time() + seconds, time.monotonic() + PATIENCE * seconds

    def is_over() -> bool:
        return time.process_time() > work_ends or time.monotonic() > clock_ends

    in_main = threading.current_thread() is threading.main_thread()
    stopping = _by_signal if hasattr(signal, "setitimer") and in_main else _by_thread
    if stuck is None:
        return stopping(call, is_over)
    with _told_when_stuck(stuck, is_over):
        return stopping(call, is_over)


@contextlib.contextmanager
def _told_when_stuck(stuck: Callable[[], None], is_over: Callable[[], bool]) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        while not is_over():
            if done.wait(0.5):
                return
        if not done.wait(GRACE):
            stuck()

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _by_signal(call: Callable[[], Any], is_over: Callable[[], bool]) -> Any:
    def interrupt(signal_number: int, frame: Any) -> None:
        if is_over():
            signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)
            raise TimeLimit

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, LOOK, LOOK)
            return call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # twice: an interruption may arrive while the first one is being handled
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _by_thread(call: Callable[[], Any], is_over: Callable[[], bool]) -> Any:
    thread = ctypes.c_ulong(threading.get_ident())
    done, turn = threading.Event(), threading.Lock()

    def watch() -> None:
        while not done.wait(AGAIN if is_over() else LOOK):
            with turn:
                if is_over() and not done.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TimeLimit))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        try:
            return call()
        finally:
            with turn:
                done.set()
    finally:
        done.set()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)  # one that was set, but not yet raised
