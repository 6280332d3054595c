"""The data file devices.toml into cards: memory, bandwidth and dense rates, each with its source and the date it was read."""

import tomllib
from pathlib import Path
from typing import NamedTuple

from mlcourse.errors import unknown_name

GB, GIB = 10**9, 2**30


class Device(NamedTuple):
    """One accelerator. Rates are dense, with accumulation in fp32.

    `memory` in bytes as sold (1 GB = 1e9 B; the driver shows a little less), `bandwidth` in bytes a second, `rates` in FLOP a
    second by precision ("fp32", "fp16", "bf16", "fp8"; what is missing the card can't do), `watts` the board's limit, `units`
    its multiprocessors, `fma` the 16-bit multiply-adds of one of them in one clock, `clock` in Hz.
    """

    name: str
    memory: float
    bandwidth: float
    rates: dict[str, float]
    watts: float
    units: int
    fma: int
    clock: float
    source: str
    date: str

    def rate(self, precision: str) -> float:
        """FLOP a second for the matrix products of a training precision.

        Raises:
            ValueError: a precision this card lacks.

        >>> DEVICES["t4"].rate("fp32") / 1e12
        8.1
        """
        wanted = {"mixed-bf16": "bf16", "mixed-fp16": "fp16"}.get(precision, precision)
        if wanted not in self.rates:
            usable = ", ".join(self.rates)
            cure = "mixed-fp16 with loss scaling" if wanted == "bf16" and "fp16" in self.rates else "one it has"
            raise ValueError(f"{self.name} has no {wanted} units: it has {usable}. Use {cure}, or another card.")
        return self.rates[wanted]


def read_table(text: str) -> dict[str, Device]:
    """The rows of the data file, whose units are those of data sheets: GB, GB/s, TFLOP/s, W, MHz.

    Raises:
        ValueError: a row without one of a `Device`'s fields, or with another.
    """
    devices = {}
    for key, row in tomllib.loads(text).items():
        if set(row) != set(Device._fields):
            raise ValueError(f"row {key!r} of devices.toml has the fields {sorted(row)}; a row has {sorted(Device._fields)}.")
        devices[key] = Device(**row)._replace(
            memory=row["memory"] * GB,
            bandwidth=row["bandwidth"] * GB,
            rates={precision: rate * 1e12 for precision, rate in row["rates"].items()},
            clock=row["clock"] * 1e6,
        )
    return devices


DEVICES = read_table(Path(__file__).with_name("devices.toml").read_text(encoding="utf-8"))


def find_device(gpu: str | Device) -> Device:
    """A row of the table by its key, or a `Device` of one's own.

    Raises:
        ValueError: an unknown key; the message lists the known ones.

    >>> find_device("t4").memory / GIB
    14.901161193847656
    """
    if isinstance(gpu, Device):
        return gpu
    if gpu not in DEVICES:
        raise ValueError(unknown_name("device", gpu, DEVICES))
    return DEVICES[gpu]
