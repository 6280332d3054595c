"""The table of devices: memory, bandwidth and dense rates, each with its source and the date it was read.

Datasheets print the rate with 2:4 sparsity first; that is twice the dense one, and no training step reaches it. Only dense
rates stand here. A tensor rate follows from the chip itself, units x multiply-adds per unit and clock x 2 x clock, and a test
derives each again. Where the maker sells boards with other clocks, the row says which board it is.
"""

from typing import NamedTuple

from mlcourse.errors import unknown_name

GB, GIB = 10**9, 2**30


class Device(NamedTuple):
    """One accelerator. Rates are dense, with accumulation in fp32.

    `memory` in bytes as sold (1 GB = 1e9 B; the driver shows a little less), `bandwidth` in bytes a second, `rates` in FLOP a
    second by precision ("fp32", "fp16", "bf16", "fp8"; what is missing the card can't do), `watts` the board's limit,
    `units` its
    multiprocessors, `fma` the 16-bit multiply-adds of one of them in one clock, `clock` in Hz.
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


def card(name, memory, bandwidth, rates, watts, units=0, fma=0, clock=0.0, *, source, date="2026-08-22"):
    """A row, written in the units of datasheets: GB, GB/s, TFLOP/s, W, MHz."""
    rates = {precision: rate * 1e12 for precision, rate in rates.items()}
    return Device(name, memory * GB, bandwidth * GB, rates, watts, units, fma, clock * 1e6, source, date)


NVIDIA = "NVIDIA datasheet, as tabled in S. Bekman, Machine Learning Engineering (github.com/stas00/ml-engineering)"
GEFORCE = "NVIDIA architecture whitepaper (dense rate, fp32 accumulation)"
ROWS = (
    card("T4", 16, 320, {"fp32": 8.1, "fp16": 65}, 70, 40, 512, 1590, source=NVIDIA),
    card("V100 SXM2 16 GB", 16, 900, {"fp32": 15.7, "fp16": 125}, 300, 80, 512, 1530, source=NVIDIA),
    card("RTX 3060 12 GB", 12, 360, {"fp32": 12.7, "fp16": 25.5, "bf16": 25.5}, 170, 28, 256, 1777, source=GEFORCE),
    card("RTX 3090", 24, 936, {"fp32": 35.6, "fp16": 71, "bf16": 71}, 350, 82, 256, 1695, source=GEFORCE),
    card("RTX 4090", 24, 1008, {"fp32": 82.6, "fp16": 165, "bf16": 165}, 450, 128, 256, 2520, source=GEFORCE),
    card("RTX 5090", 32, 1792, {"fp32": 104.8, "fp16": 209.5, "bf16": 209.5}, 575, 170, 256, 2407, source=GEFORCE),
    card("L4", 24, 300, {"fp32": 30.3, "fp16": 121, "bf16": 121, "fp8": 242}, 72, 58, 512, 2040, source=NVIDIA),
    card("A10G", 24, 600, {"fp32": 35, "fp16": 70, "bf16": 70}, 300, 80, 256, 1710, source="AWS g5 instance page; " + NVIDIA),
    card("A100 SXM 40 GB", 40, 1555, {"fp32": 19.5, "fp16": 312, "bf16": 312}, 400, 108, 1024, 1410, source=NVIDIA),
    card("A100 SXM 80 GB", 80, 2039, {"fp32": 19.5, "fp16": 312, "bf16": 312}, 400, 108, 1024, 1410, source=NVIDIA),
    card(
        "H100 SXM", 80, 3350, {"fp32": 67, "fp16": 989, "bf16": 989, "fp8": 1979}, 700, 132, 2048, 1830, source=NVIDIA
    ),
    card(
        "H100 PCIe", 80, 2000, {"fp32": 51, "fp16": 756, "bf16": 756, "fp8": 1513}, 350, 114, 2048, 1620, source=NVIDIA
    ),
    card("H200 SXM", 141, 4800, {"fp32": 67, "fp16": 989, "bf16": 989, "fp8": 1979}, 700, 132, 2048, 1830, source=NVIDIA),
    card("B200 SXM", 180, 8000, {"fp32": 75, "fp16": 2250, "bf16": 2250, "fp8": 4500}, 1000, 148, 4096, 1850, source=NVIDIA),
    card(
        "MI300X", 192, 5300, {"fp32": 163.4, "fp16": 1307, "bf16": 1307, "fp8": 2615}, 750, 304, 1024, 2100,
        source="AMD Instinct MI300X datasheet",
    ),
    card("TPU v5e", 16, 819, {"bf16": 197}, 200, 4, 16384, 1500, source="Google Cloud TPU v5e page; power is an estimate"),
)  # fmt: skip
KEYS = ("t4", "v100", "rtx3060", "rtx3090", "rtx4090", "rtx5090", "l4", "a10g", "a100-40", "a100-80", "h100", "h100-pcie",
        "h200", "b200", "mi300x", "tpu-v5e")  # fmt: skip
DEVICES = dict(zip(KEYS, ROWS, strict=True))


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
