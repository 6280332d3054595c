"""A name, or the reader's own `module:function`, into what is to be sized: a model, a batch and a loss.

Nothing here builds a model. The tracers call the three functions of a `Task` where tensors have shapes and no memory.
"""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from mlcourse.errors import unknown_name


class Task(NamedTuple):
    """What one training step consists of, as functions that are called without allocating anything.

    `model()` makes a `torch.nn.Module` or, with `framework="jax"`, a Flax NNX module. `batch(size)` makes the tuple of
    inputs: tensors, or `jax.ShapeDtypeStruct`s. `loss(model, *batch)` is the scalar that is differentiated.
    `tokens` is the number of tokens in one example; 1 for an image.
    """

    model: Callable[[], Any]
    batch: Callable[[int], tuple]
    loss: Callable[..., Any]
    framework: str = "torch"
    tokens: int = 1


MODELS = {  # name: module:function of this package, called with the options it takes
    "resnet18-cifar": "mlcourse.sizing.models_torch:resnet18_cifar",
    "resnet18-imagenet": "mlcourse.sizing.models_torch:resnet18_imagenet",
    "gpt-char": "mlcourse.sizing.models_torch:gpt_char",
    "gpt2": "mlcourse.sizing.models_torch:gpt2",
    "mlp-digits": "mlcourse.sizing.models_torch:mlp_digits",
    "resnet18-cifar-flax": "mlcourse.sizing.models_flax:resnet18_cifar",
    "gpt-char-flax": "mlcourse.sizing.models_flax:gpt_char",
    "mlp-digits-flax": "mlcourse.sizing.models_flax:mlp_digits",
}


def find_task(model: str | Task | Callable[..., Task], **options) -> Task:
    """The task behind a known name, a `module:function`, a function, or a task itself.

    Args:
        model: a key of `MODELS`, "module:function" (looked for in the working directory too), a function or a `Task`.
        options: such as `attention="naive"`; passed on where the function takes them.

    Raises:
        ValueError: an unknown name, a module or function that can't be found, an option it does not take, or a function
            that returns something else.

    >>> find_task("mlp-digits").tokens
    1
    >>> find_task("mlp-digit")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: unknown model 'mlp-digit'. Did you mean 'mlp-digits'? Known: 'gpt-char', 'gpt-char-flax', ...

    Built in lesson 07.
    """
    if isinstance(model, Task):
        function: Callable[..., Task] = lambda: model  # noqa: E731
    elif callable(model):
        function = model
    else:
        function = load_function(model)
    try:
        task = function(**options)
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # raised inside the function, not by the call
        if options:
            raise ValueError(f"{model!r} does not take {options}: {error}. Leave the option out.") from None
        raise ValueError(f"{model!r} can't be called without arguments: {error}. Give it defaults.") from None
    if not isinstance(task, Task):
        raise ValueError(
            f"{model!r} returned {type(task).__name__}, not a Task; return mlcourse.sizing.Task(model, batch, loss)."
        )
    return task


def load_function(name: str) -> Callable[..., Task]:
    if name in MODELS:
        name = MODELS[name]
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise ValueError(unknown_name("model", name, MODELS) + " Or give your own as module:function.")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and not module.startswith(error.name):
            raise
        raise ValueError(
            f"there is no module {module!r} for model {name!r}; start in the folder that holds {module}.py."
        ) from None
    known = [name for name, value in vars(loaded).items() if callable(value) and not name.startswith("_")]
    if function not in known:
        raise ValueError(unknown_name(f"function of module {module}", function, known))
    return getattr(loaded, function)
