"""The lessons, their solutions and the checks, in an environment other than the tested one.

    tools/env python tools/compatibility.py colab     # the versions Colab had in August 2026, in .venv-colab
    tools/env python tools/compatibility.py newest    # the newest release of everything, in .venv-newest

`colab` plays a first visit: an environment with Colab's packages and without mlcourse, a kernel that believes it is in
Colab, and the set-up cell. For `git`, this folder stands in for the course's address, so nothing in the notebook differs from
what a reader runs. PyTorch is in both the version installed here, because its CPU build may be all that is available.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import environment  # beside this file
import nbformat
from nbclient import NotebookClient

from mlcourse import site
from mlcourse.notebooks import kernel_settings

PROJECT = Path(__file__).resolve().parent.parent
# From Colab's list of August 2026 (googlecolab/backend-info).
COLAB = (
    "numpy==2.1.*", "jax==0.7.2", "jaxlib==0.7.2", "flax==0.11.2", "optax==0.2.8", "matplotlib==3.10.0",
    "ipywidgets==7.7.1", "ipykernel==6.17.1", "ipython==7.34.0", "scikit-learn>=1.6", "scipy>=1.15", "pandas>=2.2",
    "platformdirs", "tqdm", "einops",
)  # fmt: skip


def call(*command: object, folder: Path, **variables: str) -> None:
    """Run a command in the environment of `folder`; a failure ends the program."""
    done = subprocess.run([str(part) for part in command], cwd=PROJECT, env=environment.inside(folder) | variables)
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, command))}")


def new_environment(name: str) -> Path:
    """An empty environment with PyTorch in it."""
    folder = PROJECT / name
    print(f"{name}: a new environment", flush=True)
    command = ["uv", "venv", "--quiet", "--seed", "--clear", "--python", sys.executable, folder]
    call(sys.executable, "-m", *command, folder=folder)
    torch = importlib.metadata.version("torch").partition("+")[0]
    environment.install_torch(folder, torch, by=sys.executable)
    install(folder, f"torch=={torch}")  # it is there already: this adds what it needs
    return folder


def install(folder: Path, *arguments: object) -> None:
    call(*environment.uv_pip(folder, "install", "--quiet", *arguments, by=sys.executable), folder=folder)


def versions(folder: Path) -> dict[str, str]:
    command = environment.uv_pip(folder, "list", "--format=json", "--quiet", by=sys.executable)
    listed = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE).stdout
    return {package["name"]: package["version"] for package in json.loads(listed)}


def stand_in(folder: Path) -> Path:
    """A git repository with what is needed to install mlcourse as it is here, changes not yet committed included."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, folder)
    shutil.copytree(PROJECT / "mlcourse", folder / "mlcourse", ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", folder, "-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    first = ["init", "--quiet", f"--initial-branch={site.BRANCH}"]
    for arguments in (first, ["add", "."], ["commit", "--quiet", "-m", "as it is"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


def colab_kernel(folder: Path, home: Path) -> dict[str, str]:
    """A kernel named `colab` in `home`, and the variables under which Jupyter finds it."""
    command = [environment.python_of(folder), "-Xfrozen_modules=off", "-m", "ipykernel_launcher"]
    spec = {
        "argv": [*map(str, command), "-f", "{connection_file}"],
        "display_name": "Colab", "language": "python",
        "env": {
            "COLAB_RELEASE_TAG": "stand-in", "PYTHONPATH": "",
            "GIT_CONFIG_COUNT": "1",  # git reads these as settings: it takes the first address for the second
            "GIT_CONFIG_KEY_0": f"url.{stand_in(home / 'repository').as_uri()}.insteadOf",
            "GIT_CONFIG_VALUE_0": f"https://github.com/{site.REPOSITORY}",
        },
    }  # fmt: skip
    (home / "kernels/colab").mkdir(parents=True)
    (home / "kernels/colab/kernel.json").write_text(json.dumps(spec))
    return {"JUPYTER_PATH": str(home)}


def run_setup_cell(where: Path) -> None:
    """Run it as the first cell of a notebook in `where`, a folder from which mlcourse can't be imported by accident."""
    cells = [nbformat.v4.new_code_cell(code) for code in (site.setup_cell(), "import mlcourse; print(mlcourse.__file__)")]
    notebook, at = nbformat.v4.new_notebook(cells=cells), {"metadata": {"path": str(where)}}
    with kernel_settings() as config:
        NotebookClient(notebook, kernel_name="colab", config=config, timeout=600, resources=at).execute()
    print(f"  set-up cell: {''.join(output.text for output in cells[1].outputs).strip()}", flush=True)


def test_colab() -> None:
    folder = new_environment(".venv-colab")
    install(folder, *COLAB)
    with tempfile.TemporaryDirectory() as home:
        jupyter = colab_kernel(folder, Path(home))
        os.environ.update(jupyter)
        before = versions(folder)
        run_setup_cell(Path(home))
        run_setup_cell(Path(home))  # a reader may run it again
        after = versions(folder)
        installed = after.pop("mlcourse", None)
        if installed is None or before != after:
            changed = sorted(name for name in before | after if before.get(name) != after.get(name))
            sys.exit(f"the set-up cell must add mlcourse and nothing else; mlcourse: {installed}, changed: {changed}.")
        print(f"  mlcourse {installed} added; the other {len(after)} packages are unchanged", flush=True)
        install(folder, "optuna")  # Colab has none; lesson 05 compares with it where it is, and its stored outputs do
        call(environment.python_of(folder), "-m", "mlcourse", "kill-rate", folder=folder)
        here = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-kernel-name=colab", "--nbval-cell-timeout=600"]
        call(*here, "notebooks", "solutions", folder=Path(sys.prefix), **jupyter)


def test_newest() -> None:
    folder = new_environment(".venv-newest")
    torch = versions(folder)["torch"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as held:
        held.write(f"torch=={torch}\n")
        held.flush()
        install(folder, "--upgrade", "--constraint", held.name, "--editable", f"{PROJECT}[dev]")
    newest, tested = versions(folder), versions(Path(sys.prefix))
    moved = [name for name in sorted(tested) if newest.get(name, tested[name]) != tested[name]]
    newer = [f"{name} {tested[name]} -> {newest[name]}" for name in moved]
    print(f"  other than tested: {', '.join(newer) or 'nothing'}", flush=True)
    python = environment.python_of(folder)
    call(python, "-m", "mlcourse", "kill-rate", folder=folder)
    options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=600"]
    call(python, "-m", "pytest", "-q", *options, "notebooks", "solutions", folder=folder)


if __name__ == "__main__":
    tests = {"colab": test_colab, "newest": test_newest}
    if len(sys.argv) != 2 or sys.argv[1] not in tests:
        sys.exit(f"usage: tools/env python tools/compatibility.py {'|'.join(tests)}")
    try:
        tests[sys.argv[1]]()
    except environment.Failed as problem:
        sys.exit(str(problem))
    print(f"{sys.argv[1]}: all passed")
