"""Exercises of lesson 07 that count the parameters and FLOPs of layers: an MLP, a convolution."""

from collections.abc import Callable
from itertools import pairwise
from math import ceil, floor

from mlcourse.checks.engine import Exercise, Mistake
from mlcourse.checks.lesson07_programs import EXACT, after, changed, partly, scaled

MULTIPLY_ADD = (
    "A multiplication with its addition is *two* floating-point operations. These are multiply-adds (MACs), half of the FLOPs."
)
NO_BATCH = "These are the FLOPs of one example. A pass runs over the whole batch: times `batch`."

# 7.1 mlp_counts(sizes, *, batch, bias) -> {"parameters", "forward", "step"}


def _mlp_cases() -> dict:
    return {
        "the digits network of lesson 01": {"sizes": (64, 128, 128, 10), "batch": 32, "bias": True},
        "one layer": {"sizes": (5, 3), "batch": 7, "bias": True},
        "no biases": {"sizes": (20, 30, 40, 10), "batch": 16, "bias": False},
        "an input that is much wider than the rest": {"sizes": (3072, 100, 50, 10), "batch": 128, "bias": True},
    }


def _mlp(
    *,
    biases: Callable = lambda sizes: sum(sizes[1:]),
    layers: Callable = lambda sizes: list(pairwise(sizes)),
    step: Callable = lambda products: 3 * sum(products) - products[0],
    additions: int = 0,
) -> Callable:
    """The counts with their parts exchangeable; `products` are the FLOPs of each layer's forward product."""

    def counts(sizes: tuple, *, batch: int, bias: bool) -> dict:
        products = [batch * (2 * a * b + additions * bias * b) for a, b in layers(sizes)]
        return {
            "parameters": sum(a * b for a, b in layers(sizes)) + (biases(sizes) if bias else 0),
            "forward": sum(products),
            "step": step(products),
        }

    return counts


_TWO_THIRDS = (
    "One product a layer is missing: either this is the backward pass without the forward pass, or the backward pass was "
    "counted as one product. A layer has one product forward and *two* backward: the gradient of its weights, and that of "
    "its inputs, which is passed on."
)

MLP = Exercise(
    id="7.1",
    name="mlp_counts",
    title="The parameters and FLOPs of an MLP",
    minutes=15,
    difficulty=1,
    cases=_mlp_cases,
    reference=_mlp(),
    run=after(1),
    **EXACT,
    mistakes=(
        Mistake(
            "The biases are not among the parameters. Each layer has one for each of its outputs, where `bias` is True.",
            changed(_mlp(), bias=False),
        ),
        Mistake("There are no biases where `bias` is False, but they were counted.", changed(_mlp(), bias=True)),
        Mistake(
            "There is one bias for each *output* of a layer. These were counted by its inputs.",
            _mlp(biases=lambda sizes: sum(sizes[:-1])),
        ),
        Mistake(
            "The input was given biases too. Only layers have them, so the first size has none.",
            _mlp(biases=sum),
        ),
        Mistake("A layer has as many biases as outputs, not one.", _mlp(biases=lambda sizes: len(sizes) - 1)),
        Mistake(MULTIPLY_ADD, scaled(_mlp(), 0.5, "forward", "step")),
        Mistake(NO_BATCH, changed(_mlp(), batch=1)),
        Mistake(
            "The first layer's backward pass is one product, not two: its inputs are data, and nobody asks for the gradient of "
            "the data. Here that layer is often the largest, so three times the forward pass is clearly too much.",
            _mlp(step=lambda products: 3 * sum(products)),
        ),
        Mistake(
            f"{_TWO_THIRDS} (And nobody asks for the gradient of the data, so the first layer has one of the two.)",
            _mlp(step=lambda products: 2 * sum(products)),
        ),
        Mistake(_TWO_THIRDS, _mlp(step=lambda products: 2 * sum(products) - products[0])),
        Mistake(
            "The first layer's backward pass is missing altogether. Its inputs need no gradient, but its weights are to learn.",
            _mlp(step=lambda products: 3 * sum(products) - 2 * products[0]),
        ),
        Mistake(
            "The product that is left out belongs to the last layer. It is the *first* one whose inputs need no gradient.",
            _mlp(step=lambda products: 3 * sum(products) - products[-1]),
        ),
        Mistake(
            "The additions of the biases were counted too. They are next to nothing, and counters leave them out: only matrix "
            "products count here.",
            _mlp(additions=1),
        ),
        Mistake(
            "The last layer is missing: n sizes make n - 1 layers, one between each size and the next.",
            _mlp(layers=lambda sizes: list(pairwise(sizes))[:-1] or [(0, 0)]),
        ),
        Mistake(
            "The sizes of a layer were added. A layer with a inputs and b outputs has a * b weights.",
            lambda sizes, *, batch, bias: (
                _mlp()(sizes, batch=batch, bias=bias)
                | {"parameters": sum(a + b for a, b in pairwise(sizes)) + (sum(sizes[1:]) if bias else 0)}
            ),
        ),
    ),
    hints=(
        "`zip(sizes, sizes[1:])` gives inputs and outputs of every layer. Count weights, biases and one product for each.",
        "`x @ W` with x of shape (batch, a) and W of shape (a, b) makes batch * b numbers, each from a multiplications and "
        "a additions. The backward pass has the products `x.T @ g` and `g @ W.T`, both as large. Which of them can the first "
        "layer do without?",
        "With `products = [2 * batch * a * b for a, b in ...]`, the step is `3 * sum(products) - products[0]`.",
    ),
)

# 7.2 conv2d_counts(in_channels, out_channels, kernel, size, *, stride, padding, dilation, groups, bias, batch)
#     -> {"output": (height, width), "parameters", "forward"}


def _conv_cases() -> dict:
    names = ("in_channels", "out_channels", "kernel", "size", "stride", "padding", "dilation", "groups", "bias", "batch")
    cases = {
        "3 x 3, as in a ResNet for CIFAR": (64, 128, (3, 3), (32, 32), 1, 1, 1, 1, False, 8),
        "the stem of a ResNet for large images": (3, 64, (7, 7), (224, 224), 2, 3, 1, 1, False, 4),
        "no padding, a stride that leaves a rest, biases": (4, 6, (3, 3), (20, 31), 3, 0, 1, 1, True, 2),
        "one filter a channel, a kernel that is not square": (12, 12, (5, 3), (17, 30), 2, 1, 1, 12, True, 3),
        "four groups, dilated": (8, 16, (3, 2), (24, 19), 1, 2, 3, 4, True, 5),
    }
    return {title: dict(zip(names, case, strict=True)) for title, case in cases.items()}


def _length(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    return floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1


def _conv(
    *,
    length: Callable = _length,
    weights: Callable = lambda i, o, kernel, groups: o * (i // groups) * kernel[0] * kernel[1],
    biases: Callable = lambda i, o: o,
    positions: Callable = lambda output, size: output[0] * output[1],
) -> Callable:
    """The counts with their parts exchangeable: i channels in, o out."""

    def counts(
        in_channels: int,
        out_channels: int,
        kernel: tuple,
        size: tuple,
        *,
        stride: int,
        padding: int,
        dilation: int,
        groups: int,
        bias: bool,
        batch: int,
    ) -> dict:
        output = tuple(length(s, k, stride, padding, dilation) for s, k in zip(size, kernel, strict=True))
        filters = weights(in_channels, out_channels, kernel, groups)
        return {
            "output": output,
            "parameters": filters + (biases(in_channels, out_channels) if bias else 0),
            "forward": 2 * batch * positions(output, size) * filters,
        }

    return counts


CONVOLUTION = Exercise(
    id="7.2",
    name="conv2d_counts",
    title="A convolution: output size, parameters, FLOPs",
    minutes=20,
    difficulty=2,
    cases=_conv_cases,
    reference=_conv(),
    run=after(4),
    **EXACT,
    mistakes=(
        Mistake("The stride is ignored: with a stride of s, about every s-th position is left.", changed(_conv(), stride=1)),
        Mistake(
            "The padding is ignored. Both sides get it, so the image grows by 2 * padding.",
            changed(_conv(), padding=0),
        ),
        Mistake(
            "The padding was added once. It stands on both sides: 2 * padding.",
            _conv(length=lambda s, k, st, p, d: (s + p - d * (k - 1) - 1) // st + 1),
        ),
        Mistake(
            "The dilation is ignored: a kernel of k taps that are d apart reaches over d * (k - 1) + 1 pixels.",
            changed(_conv(), dilation=1),
        ),
        Mistake(
            "A dilated kernel reaches over d * (k - 1) + 1 pixels, not d * k.",
            _conv(length=lambda s, k, st, p, d: (s + 2 * p - d * k) // st + 1),
        ),
        Mistake(
            "The + 1 is missing: n steps visit n + 1 positions.",
            _conv(length=lambda s, k, st, p, d: (s + 2 * p - d * (k - 1) - 1) // st),
        ),
        Mistake(
            "The division was rounded up. A kernel that would hang over the edge is not applied: round down.",
            _conv(length=lambda s, k, st, p, d: ceil((s + 2 * p - d * (k - 1) - 1) / st) + 1),
        ),
        Mistake(
            "The groups are ignored: a filter sees only the in_channels / groups channels of its own group.",
            changed(_conv(), groups=1),
        ),
        Mistake(
            "The groups are in the parameters, but not in the FLOPs. A filter that sees fewer channels also multiplies less.",
            partly(_conv(), changed(_conv(), groups=1), "forward"),
        ),
        Mistake(
            "The groups are in the FLOPs, but not in the parameters. A filter has weights only for the channels it sees.",
            partly(_conv(), changed(_conv(), groups=1), "parameters"),
        ),
        Mistake(
            "The channels were divided by the groups twice. There are still out_channels filters; each sees in_channels / "
            "groups channels.",
            _conv(weights=lambda i, o, k, groups: (o // groups) * (i // groups) * k[0] * k[1]),
        ),
        Mistake("The biases are missing: one for each output channel, where `bias` is True.", changed(_conv(), bias=False)),
        Mistake("There are no biases where `bias` is False, but they were counted.", changed(_conv(), bias=True)),
        Mistake("There is one bias for each *output* channel, not for each input channel.", _conv(biases=lambda i, o: i)),
        Mistake(
            "The kernel was taken for a square. It has a height and a width of its own.",
            _conv(weights=lambda i, o, k, groups: o * (i // groups) * k[0] ** 2),
        ),
        Mistake(
            "Height and width are exchanged in the output.",
            lambda *args, **named: _conv()(*args, **named) | {"output": _conv()(*args, **named)["output"][::-1]},
        ),
        Mistake(
            "A filter has weights for every input channel it sees: in_channels / groups is missing.",
            _conv(weights=lambda i, o, k, groups: o * k[0] * k[1]),
        ),
        Mistake(
            "The filters were applied at every pixel of the *input*. Count the positions of the output.",
            _conv(positions=lambda output, size: size[0] * size[1]),
        ),
        Mistake(
            "The FLOPs are those of the parameters used once. The same filters are used at every position of the output: times "
            "height * width. That is why 6ND fails for a convolutional net.",
            _conv(positions=lambda output, size: 1),
        ),
        Mistake(MULTIPLY_ADD, scaled(_conv(), 0.5, "forward")),
        Mistake(NO_BATCH, changed(_conv(), batch=1)),
    ),
    hints=(
        "Slide the kernel along one side first. How long is the padded side, how many pixels does the kernel reach over, and "
        "how many steps fit into the rest?",
        "A side has floor((size + 2 padding - dilation (kernel - 1) - 1) / stride) + 1 positions. The filters together have "
        "out_channels * in_channels / groups * kernel height * kernel width weights.",
        "Every weight is multiplied and added once at each position of the output, for each image: 2 * batch * height * "
        "width * weights.",
    ),
)
