"""Size a training step before renting a card: `size(model, batch, gpu=..., optimizer=..., precision=...)`.

task.py          a name or a function -> a model, a batch and a loss
models_torch.py  the PyTorch models known by name
models_flax.py   the Flax models known by name
precision.py     what a GPU does differently -> the same on shapes
ledger.py        the operations of a step -> who holds how many bytes, when
trace_torch.py   a PyTorch task -> bytes by phase, FLOPs, bytes moved
trace_jax.py     a Flax task -> the same by abstract evaluation
liveness.py      the program of a JAX step -> what is alive when
closed_form.py   the shape of a GPT -> bytes and FLOPs by formula
allocator.py     allocations and releases -> bytes reserved on a GPU
parallel.py      one card -> one card among many (data parallel, ZeRO, FSDP)
devices.toml     the table of cards, dense rates only, with sources and dates
devices.py       that table -> devices
costs.py         FLOPs, bytes and hours -> seconds, money, energy, CO2, disk, RAM
estimate.py      all of it -> an estimate, a verdict, the largest batch, the cheapest change
command.py       the command line
measure.py       the same steps on a real card -> predicted and measured memory
"""

from mlcourse.sizing.closed_form import Shape
from mlcourse.sizing.costs import Dataset
from mlcourse.sizing.devices import DEVICES, Device, find_device
from mlcourse.sizing.estimate import Change, Estimate, largest_batch, size, ways_to_fit
from mlcourse.sizing.task import MODELS, Task, find_task

__all__ = [
    "Change", "DEVICES", "Dataset", "Device", "Estimate", "MODELS", "Shape", "Task", "find_device", "find_task",
    "largest_batch", "size", "ways_to_fit",
]  # fmt: skip
