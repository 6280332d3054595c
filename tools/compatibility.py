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

import nbformat
from nbclient import NotebookClient

import environment  # beside this file
from mlcourse import site
from mlcourse.notebooks import kernel_settings

PROJECT = Path(__file__).resolve().parent.parent
# From Colab's list of August 2026 (googlecolab/backend-info); pytest is there too, in some version.
COLAB = (
    "numpy==2.1.*", "jax==0.7.2", "jaxlib==0.7.2", "flax==0.11.2", "optax==0.2.8", "matplotlib==3.10.0",
    "ipywidgets==7.7.1", "ipykernel==6.17.1", "ipython==7.34.0", "scikit-learn>=1.6", "scipy>=1.14", "pandas>=2.2",
    "platformdirs", "tqdm", "pytest",
)  # fmt: skip
CHECKS = ("tests/test_checks*.py", "tests/test_wrong*.py")


def call(*command: object, folder: Path, **variables: str) -> None:
    """Run a command in the environment of `folder`; a failure ends the program."""
    done = subprocess.run([str(part) for part in command], cwd=PROJECT, env=environment.inside(folder) | variables)
    if done.returncode:
        sys.exit(f"failed: {' '.join(map(str, command))}")


def new_environment(name: str) -> tuple[Path, list]:
    """An empty environment with PyTorch in it, and the `uv` command that installs into it."""
    folder, uv = PROJECT / name, [sys.executable, "-m", "uv"]
    print(f"{name}: a new environment", flush=True)
    call(*uv, "venv", "--quiet", "--seed", "--clear", "--python", sys.executable, folder, folder=folder)
    pip = [environment.python_of(folder), "-m", "pip"]
    environment.install_torch(folder, importlib.metadata.version("torch").partition("+")[0], uv, pip)
    return folder, [*uv, "pip", "install", "--quiet"]


def versions(folder: Path) -> dict[str, str]:
    listed = subprocess.run([sys.executable, "-m", "uv", "pip", "list", "--format=json", "--quiet"], check=True,
                            env=environment.inside(folder), stdout=subprocess.PIPE).stdout  # fmt: skip
    return {package["name"]: package["version"] for package in json.loads(listed)}


def stand_in(folder: Path) -> Path:
    """A git repository with what is needed to install mlcourse as it is here, changes not yet committed included."""
    folder.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, folder)
    shutil.copytree(PROJECT / "mlcourse", folder / "mlcourse", ignore=shutil.ignore_patterns("__pycache__"))
    git = ["git", "-C", folder, "-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "--quiet", f"--initial-branch={site.BRANCH}"], ["add", "."], ["commit", "--quiet", "-m", "as it is"]):
        subprocess.run([*git, *arguments], check=True)
    return folder


def colab_kernel(folder: Path, home: Path) -> dict[str, str]:
    """A kernel named `colab` in `home`, and the variables under which Jupyter finds it."""
    spec = {
        "argv": [str(environment.python_of(folder)), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
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


def run_setup_cell() -> None:
    cells = [nbformat.v4.new_code_cell(code) for code in (site.setup_cell(), "import mlcourse; print(mlcourse.__file__)")]
    with kernel_settings() as config:
        NotebookClient(nbformat.v4.new_notebook(cells=cells), kernel_name="colab", config=config, timeout=600).execute()
    print(f"  set-up cell: {''.join(output.text for output in cells[1].outputs).strip()}", flush=True)


def existing(*patterns: str) -> list[Path]:
    return sorted(path for pattern in patterns for path in PROJECT.glob(pattern))


def test_colab() -> None:
    folder, install = new_environment(".venv-colab")
    call(*install, *COLAB, folder=folder)
    with tempfile.TemporaryDirectory() as home:
        jupyter = colab_kernel(folder, Path(home))
        os.environ.update(jupyter)
        before = versions(folder)
        run_setup_cell()
        run_setup_cell()  # a reader may run it again
        after = versions(folder)
        installed = after.pop("mlcourse", None)
        if installed is None or before != after:
            changed = sorted(name for name in before | after if before.get(name) != after.get(name))
            sys.exit(f"the set-up cell installed mlcourse {installed} and changed {changed}; it must add mlcourse and change nothing.")
        print(f"  mlcourse {installed} added; the other {len(after)} packages are unchanged", flush=True)
        python = [environment.python_of(folder), "-m", "pytest"]
        call(*python, "-q", "--import-mode=importlib", *existing(*CHECKS), folder=folder)
        here = [sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-kernel-name=colab", "--nbval-cell-timeout=600"]
        call(*here, "notebooks", "solutions", folder=Path(sys.prefix), **jupyter)


def test_newest() -> None:
    folder, install = new_environment(".venv-newest")
    torch = versions(folder)["torch"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as held:
        held.write(f"torch=={torch}\n")
        held.flush()
        call(*install, "--upgrade", "--constraint", held.name, "--editable", f"{PROJECT}[dev]", folder=folder)
    newest, tested = versions(folder), versions(Path(sys.prefix))
    newer = [f"{name} {tested[name]} -> {newest[name]}" for name in sorted(tested) if newest.get(name, tested[name]) != tested[name]]
    print(f"  other than tested: {', '.join(newer) or 'nothing'}", flush=True)
    python = [environment.python_of(folder), "-m", "pytest", "-q"]
    call(*python, *existing(*CHECKS), "notebooks", "solutions", "--nbval", "--nbval-current-env",
         "--nbval-cell-timeout=600", folder=folder)  # fmt: skip


if __name__ == "__main__":
    tests = {"colab": test_colab, "newest": test_newest}
    if len(sys.argv) != 2 or sys.argv[1] not in tests:
        sys.exit(f"usage: tools/env python tools/compatibility.py {'|'.join(tests)}")
    try:
        tests[sys.argv[1]]()
    except environment.Failed as problem:
        sys.exit(str(problem))
    print(f"{sys.argv[1]}: all passed")
