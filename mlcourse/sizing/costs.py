"""FLOPs, bytes and hours into seconds, money, energy, CO2, disk and RAM.

Each is a range or says what it leaves out: these are estimates for planning, and the constants in them are arguments.
"""

from typing import NamedTuple

from mlcourse.errors import unknown_name
from mlcourse.sizing.devices import Device, find_device

# Shares of a card's peak that matrix products and memory reach, and seconds to launch a kernel: best, usual, poor.
# The usual ones follow published training runs (38 to 57 % of peak for large Transformers); not measured here.
EFFICIENCY = ((0.8, 0.9, 3e-6), (0.5, 0.75, 6e-6), (0.25, 0.5, 12e-6))


class Range(NamedTuple):
    """Three values of one quantity: a good case, the usual one, a bad one."""

    low: float
    middle: float
    high: float


class StepTime(NamedTuple):
    """Seconds of a step, and what bounds it: "compute", "bandwidth" or "overhead"."""

    seconds: Range
    bound: str
    intensity: float
    ridge: float


class Run(NamedTuple):
    """What a whole run takes: hours on the clock, device hours, currency, kWh and kg of CO2."""

    hours: Range
    device_hours: Range
    cost: Range
    kwh: Range
    co2_kg: Range


class Dataset(NamedTuple):
    """What is trained on: bytes of 8 bits an example; `archive` is the download that lies beside the unpacked files."""

    examples: int
    bytes_per_example: int
    archive: int = 0
    stored_as: str = "uint8"


class Storage(NamedTuple):
    """Bytes on disk and in the computer's memory."""

    dataset_disk: int
    checkpoints_disk: int
    environment_disk: int
    dataset_ram: int
    process_ram: int

    @property
    def disk(self) -> int:
        return self.dataset_disk + self.checkpoints_disk + self.environment_disk

    @property
    def ram(self) -> int:
        return self.dataset_ram + self.process_ram


def step_time(kernels, device: str | Device, precision: str) -> StepTime:
    """Seconds of one step: each kernel takes the longer of its FLOPs and its bytes, and no less than its launch (the roofline).

    Args:
        kernels: (name, flops, bytes moved) of each operation, as a trace has them.

    Raises:
        ValueError: an unknown device, or one without this precision.

    >>> step_time([("mm", 8.1e12, 1e9)], "t4", "fp32").bound
    'compute'

    Built in lesson 07.
    """
    device = find_device(device)
    peak = device.rate(precision)
    seconds = []
    for compute, memory, launch in EFFICIENCY:
        work = sum(max(k[1] / (peak * compute), k[2] / (device.bandwidth * memory)) for k in kernels)
        seconds.append(max(work, len(kernels) * launch))
    compute, memory, launch = EFFICIENCY[1]
    busy = {"compute": 0.0, "bandwidth": 0.0, "overhead": 0.0}
    for _, flops, moved in kernels:
        times = {"compute": flops / (peak * compute), "bandwidth": moved / (device.bandwidth * memory), "overhead": launch}
        longest = max(times, key=times.get)
        busy[longest] += times[longest]
    flops, moved = (sum(k[i] for k in kernels) for i in (1, 2))
    return StepTime(Range(*seconds), max(busy, key=busy.get), flops / max(1, moved), peak / device.bandwidth)


def run_cost(
    seconds: Range,
    steps: int,
    device: str | Device,
    *,
    devices: int = 1,
    price_per_hour: float = 0.0,
    utilisation: float = 0.8,
    pue: float = 1.2,
    grid: float = 0.475,
) -> Run:
    """Time, money, energy and CO2 of `steps` steps.

    Args:
        seconds: of one step; data loading is not in it.
        price_per_hour: of one device.
        utilisation: share of the board's power limit that is drawn.
        pue: power of the building for each watt of the machines.
        grid: kg of CO2 a kWh; 0.475 was the world's mean in 2019 (IEA). Norway has about 0.03, Poland about 0.7.

    Raises:
        ValueError: a number of steps or devices below 1, a negative price or grid, a utilisation beyond 1, a PUE below 1.

    >>> run = run_cost(Range(0.9, 1.0, 2.0), 3600, "t4", price_per_hour=0.5)
    >>> run.cost.middle, round(run.kwh.middle, 4)
    (0.5, 0.0672)
    """
    if steps < 1 or devices < 1:
        raise ValueError(f"steps={steps}, devices={devices}; a run has at least one of each.")
    if price_per_hour < 0 or grid < 0 or not 0 < utilisation <= 1 or pue < 1:
        raise ValueError(
            f"price_per_hour={price_per_hour}, grid={grid}, utilisation={utilisation}, pue={pue}; price and grid are 0 or "
            "more, utilisation is a share above 0 and up to 1, and pue is at least 1."
        )
    watts = find_device(device).watts
    hours = Range(*(s * steps / 3600 for s in seconds))
    device_hours = Range(*(h * devices for h in hours))
    kwh = Range(*(h * watts * utilisation * pue / 1000 for h in device_hours))
    return Run(hours, device_hours, Range(*(h * price_per_hour for h in device_hours)), kwh, Range(*(k * grid for k in kwh)))


def storage(
    *,
    examples: int,
    bytes_per_example: int,
    stored_as: str = "uint8",
    archive: int = 0,
    weights: int = 0,
    optimizer: int = 0,
    checkpoints: int = 1,
    workers: int = 0,
    environment: int = 6 * 10**9,
) -> Storage:
    """Disk and RAM of a run whose data set is held in memory.

    Args:
        bytes_per_example: as bytes of 8 bits; `stored_as="float32"` holds four times as much in RAM.
        archive: the download, which lies beside the unpacked files.
        workers: loader processes, each about 0.3 GB with PyTorch imported.
        environment: installed packages; 1.7 GB with the CPU builds, several more with CUDA.

    Raises:
        ValueError: `stored_as` is not "uint8" or "float32", or a count is negative.

    >>> storage(examples=60_000, bytes_per_example=3072, stored_as="float32").dataset_ram
    737280000
    """
    width = {"uint8": 1, "float32": 4}
    if stored_as not in width:
        raise ValueError(unknown_name("storage type", stored_as, width))
    if min(examples, bytes_per_example, archive, checkpoints, workers) < 0:
        raise ValueError(
            f"examples={examples}, bytes_per_example={bytes_per_example}, archive={archive}, checkpoints={checkpoints}, "
            f"workers={workers}; none can be negative."
        )
    raw = examples * bytes_per_example
    return Storage(
        dataset_disk=raw + archive,
        checkpoints_disk=checkpoints * (weights + optimizer),
        environment_disk=environment,
        dataset_ram=raw * width[stored_as],
        process_ram=500_000_000 + workers * 300_000_000,
    )


def utilisation(parameters: float, tokens: float, gpu_hours: float, device: str | Device, precision: str = "bf16") -> float:
    """Share of peak that a run's GPU hours imply by 6ND (model FLOPs utilisation, Chowdhery et al. 2022).

    >>> round(utilisation(405e9, 15.6e12, 30.84e6, "h100"), 3)
    0.345
    """
    return 6 * parameters * tokens / (gpu_hours * 3600 * find_device(device).rate(precision))
