"""The operations of a PyTorch step into a ledger: which storage holds how many bytes, when, and what it is for.

A `Ledger` sees every operation that PyTorch dispatches, on shapes (device "meta") as on real memory, and every storage
that is freed. The storage is what is counted, never the tensor: views share one, and counting tensors counts it twice.
"""

import weakref
from typing import NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

PARTS = ("weights", "gradients", "optimizer", "saved", "loss_head", "temporary")
LOSS_HEAD = {"_log_softmax", "_log_softmax_backward_data", "nll_loss_forward", "nll_loss_backward", "nll_loss2d_forward"}


class Kernel(NamedTuple):
    """One operation that touches memory: its FLOPs, and the bytes it reads and writes if nothing is fused."""

    name: str
    flops: int
    bytes_moved: int


class Ledger(TorchDispatchMode):
    """What is alive, by part, while a step runs; `peaks[phase]` is the fullest instant of each phase.

    `events` lists (bytes, storage number) for each allocation and (-bytes, number) for each release, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts: dict[int, tuple[str, int]] = {}  # storage -> (part, bytes)
        self.alive = dict.fromkeys(PARTS, 0)
        self.peaks: dict[str, dict[str, int]] = {}
        self.kernels: dict[str, list[Kernel]] = {}
        self.events: list[tuple[int, int]] = []
        self.phase = ""

    def enter(self, phase: str) -> None:
        """What follows belongs to `phase`."""
        self.phase = phase
        self.peaks[phase] = dict(self.alive)
        self.kernels[phase] = []

    def label(self, tensor: torch.Tensor, part: str, *, only: str | None = None) -> None:
        """This tensor's storage belongs to `part` from now on (with `only`: if it belonged to that part before)."""
        key = storage_key(tensor)
        if key not in self.parts:
            self.add(tensor, part)
        before, size = self.parts[key]
        if only is None or before == only:
            self.alive[before] -= size
            self.alive[part] += size
            self.parts[key] = part, size
        self.note_peak()

    def add(self, tensor: torch.Tensor, part: str) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        self.parts[key] = part, size
        self.alive[part] += size
        self.events.append((size, key))
        weakref.finalize(storage, self.release, key)
        self.note_peak()

    def release(self, key: int) -> None:
        part, size = self.parts.pop(key)
        self.alive[part] -= size
        self.events.append((-size, key))

    def note_peak(self) -> None:
        if self.phase and sum(self.alive.values()) > sum(self.peaks[self.phase].values()):
            self.peaks[self.phase] = dict(self.alive)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = function(*args, **kwargs)
        before = {storage_key(t): t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        made = {storage_key(t): t for t in tree_leaves(out) if isinstance(t, torch.Tensor)}
        packet = function._overloadpacket
        for key, tensor in made.items():
            if key not in self.parts:
                self.add(tensor, "loss_head" if packet.__name__ in LOSS_HEAD else "temporary")
        if self.phase and (set(made) - set(before) or function._schema.is_mutable):
            touched = sum(t.numel() * t.element_size() for t in (*before.values(), *made.values()))
            flops = flop_registry[packet](*args, **kwargs, out_val=out) if packet in flop_registry else 0
            self.kernels[self.phase].append(Kernel(packet.__name__, int(flops), touched))
        return out


def storage_key(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata
