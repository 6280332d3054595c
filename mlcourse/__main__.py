"""`python -m mlcourse COMMAND ...` into a call of the module that does it."""

import importlib
import sys

from mlcourse.errors import unknown_name

COMMANDS = {  # name: (module, function, what it does)
    "run": ("mlcourse.notebooks", "run_command", "execute a lesson with papermill and show its headline numbers"),
    "train": ("mlcourse.train_command", "main", "train the network of lesson 01 with the settings of a file"),
    "sweep": ("mlcourse.sweep.command", "main", "run a notebook once for each combination of parameters"),
    "dashboard": ("mlcourse.tracking", "main", "open the page with all tracked runs"),
    "kernel": ("mlcourse.sweep.kernels", "kernel_command", "install the kernelspec whose kernels start fast"),
    "size": ("mlcourse.sizing.command", "main", "say what a training step needs and whether it fits"),
    "execute": ("mlcourse.notebooks", "execute_command", "run notebooks and store their outputs in place"),
    "strip": ("mlcourse.notebooks", "strip_command", "drop metadata that differs from run to run"),
    "lint": ("mlcourse.lint", "main", "find what would make a stored notebook fail or drift"),
    "exercises": ("mlcourse.exercises", "main", "make exercises/ from solutions/"),
    "report": ("mlcourse.report.command", "main", "mark a folder of students' notebooks"),
    "kill-rate": ("mlcourse.checks.killrate", "main", "count the wrong answers that the checks refuse by name"),
    "site": ("mlcourse.site", "main", "renew badges and set-up cells from the repository's address"),
}


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print("usage: python -m mlcourse COMMAND ...\n")
        print("\n".join(f"  {name:10} {words}" for name, (_, _, words) in COMMANDS.items()))
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        print(unknown_name("command", argv[0], COMMANDS), file=sys.stderr)
        return 2
    module, function, _ = COMMANDS[argv[0]]
    try:
        command = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name.startswith("mlcourse"):
            raise
        print(f"`{argv[0]}` needs the package {error.name}: pip install 'mlcourse[lab]'", file=sys.stderr)
        return 1
    return command(argv[1:])


if __name__ == "__main__":
    sys.exit(main())
