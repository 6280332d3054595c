"""A call and a number of seconds into the call's result, or TimeLimit when it runs on.

In the main thread a signal interrupts the call; in other threads, and where the system has no such signal, an
exception is set in the thread from outside. Both fire again and again, so that code which catches everything in a
loop is stopped too. Neither stops a single call into compiled code that never comes back (a `jax.lax.while_loop`
without end): nothing inside the process can.
"""

import ctypes
import signal
import threading
from collections.abc import Callable
from typing import Any

AGAIN = 0.05  # seconds between one interruption and the next


class TimeLimit(BaseException):
    """The call ran longer than it may. Not an `Exception`, so `except Exception` in the call does not swallow it."""


def limited(call: Callable[[], Any], *, seconds: float) -> Any:
    """What `call()` returns.

    Raises:
        TimeLimit: it is not done after `seconds`.

    >>> limited(lambda: 1 + 1, seconds=5)
    2
    """
    if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
        return _by_signal(call, seconds)
    return _by_thread(call, seconds)


def _by_signal(call: Callable[[], Any], seconds: float) -> Any:
    def interrupt(signal_number: int, frame: Any) -> None:
        raise TimeLimit

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
            return call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:  # twice: an interruption may arrive while the first one is being handled
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _by_thread(call: Callable[[], Any], seconds: float) -> Any:
    thread = ctypes.c_ulong(threading.get_ident())
    done, turn = threading.Event(), threading.Lock()

    def watch() -> None:
        wait = seconds
        while not done.wait(wait):
            with turn:
                if not done.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(TimeLimit))
            wait = AGAIN

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
