"""Allocations and releases into the bytes that PyTorch's CUDA allocator would reserve for them.

What `nvidia-smi` shows is not what tensors hold: the allocator asks the driver for segments, splits them into blocks and keeps
them. This replays its rules (c10/cuda/CUDACachingAllocator.cpp): sizes in steps of 512 B; blocks up to 1 MiB
from segments of 2 MiB, below 10 MiB from segments of 20 MiB, above that a segment of their own; best fit; free neighbours are
merged.
"""

MIB = 2**20


def reserved_bytes(events: list[tuple[int, int]]) -> int:
    """The bytes reserved after the last event; segments are never given back.

    Args:
        events: (bytes, key) for an allocation and (-bytes, key) for its release, in order, as `Ledger.events` has them.

    >>> reserved_bytes([(600, 1), (700, 2)])  # two small blocks share a segment
    2097152

    Built in lesson 07.
    """
    free: list[list] = []  # [size, segment, start] of every free block
    used: dict[int, list] = {}
    segments: list[int] = []
    for change, key in events:
        if change > 0:
            used[key] = take(free, segments, -(-change // 512) * 512)
        elif change < 0 and key in used:
            give_back(free, used.pop(key))
    return sum(abs(size) for size in segments)


def take(free: list[list], segments: list[int], size: int) -> list:
    small = size <= MIB
    fitting = [block for block in free if block[0] >= size and (segments[block[1]] == 2 * MIB) == small]
    if fitting:
        block = min(fitting)
        free.remove(block)
    else:
        segment = 2 * MIB if small else 20 * MIB if size < 10 * MIB else -(-size // (2 * MIB)) * 2 * MIB
        block = [segment, len(segments), 0]
        segments.append(segment)
    rest = block[0] - size
    if rest >= 512 if small else rest > MIB:
        free.append([rest, block[1], block[2] + size])
        block = [size, block[1], block[2]]
    return block


def give_back(free: list[list], block: list) -> None:
    size, segment, start = block
    for other in [b for b in free if b[1] == segment]:
        if other[2] + other[0] == start or start + size == other[2]:
            free.remove(other)
            size, start = size + other[0], min(start, other[2])
    free.append([size, segment, start])
