"""The set-up: what tools/env decides, that it trusts nothing half-made, and that the lists of packages agree.

Building real environments takes minutes; here the installing commands are recorded instead of run. `make test-newest` and
`make test-colab` build real ones.
"""

import importlib.util
import json
import os
import re
import stat
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = Path(__file__).parent.parent


def load(name):
    spec = importlib.util.spec_from_file_location(name, PROJECT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


environment, lock = load("environment"), load("lock")


@pytest.fixture
def project(tmp_path):
    """A checkout: the two files that an environment is made from."""
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "requirements.txt").write_text("# a remark\nnumpy==2.4.6\ntorch==2.13.0\nuv==0.13.9\n")
    return tmp_path


@pytest.fixture
def commands(monkeypatch):
    """Commands are recorded, not run; `venv` leaves a Python. `commands.refuse` names words whose commands fail."""

    class Commands(list):
        refuse = ()

    recorded = Commands()

    def run(command, **_):
        recorded.append(" ".join(command))
        if "venv" in command:
            python = environment.python_of(Path(command[-1]))
            python.parent.mkdir(parents=True, exist_ok=True)
            python.write_text("#!/bin/sh\n")
            python.chmod(0o755)
        failed = any(word in recorded[-1] for word in recorded.refuse)
        return subprocess.CompletedProcess(command, int(failed), stdout="line\n" * 40 + "No space left on device\n")

    monkeypatch.setattr(environment.subprocess, "run", run)
    return recorded


def state(project, folder=".venv"):
    return environment.state_of(project / folder, environment.wanted(project))


def change_marker(checkout, **fields):
    marker = checkout / ".venv" / environment.MARKER
    marker.write_text(json.dumps(json.loads(marker.read_text()) | fields))


def test_a_new_checkout_gets_an_environment_and_a_second_call_runs_nothing(project, commands):
    assert state(project) == "absent"
    assert environment.ensure(project) == project / ".venv"
    assert state(project) == "ready"
    made = len(commands)
    assert environment.ensure(project) == project / ".venv"
    assert len(commands) == made


def test_pytorch_comes_before_all_that_might_pull_in_its_cuda_build(project, commands):
    environment.ensure(project)
    torch, rest = (next(n for n, c in enumerate(commands) if words in c) for words in ("torch==2.13.0", "requirements.txt"))
    assert torch < rest
    assert "--no-index --no-deps torch==2.13.0" in commands[torch]
    assert "--no-deps" in commands[rest]


def test_pytorch_is_taken_from_this_machine_then_from_the_cpu_builds_then_from_anywhere(project, commands, capsys):
    commands.refuse = ("--no-index", "--torch-backend=cpu")
    environment.ensure(project)
    python = environment.python_of(project / ".venv")
    tried = [command.removeprefix(f"{python} -m ") for command in commands if "torch==" in command]
    assert tried == [
        "pip --disable-pip-version-check install --no-index --no-deps torch==2.13.0",
        f"uv pip install --python {python} --torch-backend=cpu --no-deps torch==2.13.0",
        f"uv pip install --python {python} torch==2.13.0",
    ]
    if sys.platform == "linux":
        assert "several GB of CUDA libraries" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["-m venv", "uv==", "torch==", "requirements.txt", "--editable", "pip check"])
def test_a_failed_step_shows_its_last_lines_and_the_next_call_starts_anew(project, commands, step):
    commands.refuse = (step,)
    with pytest.raises(environment.Failed, match=r"failed:\n(    line\n){11}    No space left on device\n\w.+") as failed:
        environment.ensure(project)
    assert re.search("run the command again|MLCOURSE_PYTHON=|make lock", str(failed.value))
    assert state(project) == "half-made"
    commands.refuse = ()
    environment.ensure(project)
    assert state(project) == "ready"


def test_an_environment_made_by_something_else_is_never_touched(project, commands, capsys):
    foreign = project / ".venv"
    (foreign / "bin").mkdir(parents=True)
    (foreign / "pyvenv.cfg").write_text("home = /usr/bin")
    before = sorted(foreign.rglob("*"))
    assert environment.ensure(project) == project / ".venv-mlcourse"
    assert sorted(foreign.rglob("*")) == before
    assert not any(f"{foreign}{os.sep}" in command for command in commands)
    assert "made by something else and is left alone; this project uses .venv-mlcourse." in capsys.readouterr().err
    made = len(commands)
    assert environment.ensure(project) == project / ".venv-mlcourse"
    assert len(commands) == made


def test_a_file_or_a_dangling_link_in_the_place_is_somebody_elses(project):
    (project / ".venv").write_text("/elsewhere/venv")
    assert state(project) == "foreign"
    (project / ".venv").unlink()
    (project / ".venv").symlink_to(project / "gone")
    assert state(project) == "foreign"


def test_with_both_names_taken_the_message_says_which_to_move(project):
    for name in environment.FOLDERS:
        (project / name).mkdir()
        (project / name / "file").touch()
    with pytest.raises(environment.Failed, match=r"neither was made by this project.* Move or delete \.venv-mlcourse"):
        environment.ensure(project)


def test_an_empty_folder_is_used(project, commands):
    (project / ".venv").mkdir()
    assert environment.ensure(project) == project / ".venv"


def test_a_set_up_killed_at_any_moment_is_made_anew(project, commands, monkeypatch):
    environment.ensure(project)
    leftover = project / ".venv" / "lib" / "half_a_package.py"
    for content in ('{"state": "started"}', '{"sta', ""):
        (project / ".venv" / environment.MARKER).write_text(content)
        leftover.parent.mkdir(exist_ok=True)
        leftover.touch()
        assert state(project) == "half-made"
        environment.ensure(project)
        assert not leftover.exists()
        assert state(project) == "ready"


def test_a_kill_while_the_old_environment_is_deleted_does_not_make_it_foreign(project, commands, monkeypatch):
    environment.ensure(project)
    change_marker(project, state="started")
    monkeypatch.setattr(environment.shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        environment.ensure(project)
    assert state(project) == "half-made"


def test_new_requirements_update_the_environment_in_place(project, commands):
    environment.ensure(project)
    kept = project / ".venv" / "kept"
    kept.touch()
    (project / "requirements.txt").write_text("numpy==2.5.0\ntorch==2.13.0\nuv==0.13.9\n")
    assert state(project) == "outdated"
    commands.clear()
    environment.ensure(project)
    assert kept.exists() and not any("-m venv" in command for command in commands)
    assert state(project) == "ready"


@pytest.mark.parametrize("field, value, state_then", [("project", "/elsewhere", "moved"), ("python", "3.9", "other Python")])
def test_a_moved_environment_and_one_of_another_python_are_made_anew(project, commands, field, value, state_then):
    environment.ensure(project)
    change_marker(project, **{field: value})
    assert state(project) == state_then
    commands.clear()
    environment.ensure(project)
    assert any("-m venv" in command for command in commands)
    assert state(project) == "ready"


def test_an_environment_whose_python_is_gone_is_made_anew(project, commands):
    environment.ensure(project)
    environment.python_of(project / ".venv").unlink()
    assert state(project) == "half-made"


def test_two_at_once_make_one_environment(project, commands):
    threads = [threading.Thread(target=environment.ensure, args=(project,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("-m venv" in command for command in commands) == 1
    assert state(project) == "ready"


def test_uv_is_told_the_environment_outright_whichever_python_runs_it(project):
    # `python -m uv` without it installs into the environment of that Python and ignores VIRTUAL_ENV.
    command = environment.uv_pip(project / ".venv-colab", "install", "jax", by="/other/python")
    python = environment.python_of(project / ".venv-colab")
    assert command == ["/other/python", "-m", "uv", "pip", "install", "--python", python, "jax"]
    for path in (PROJECT / "tools").glob("*.py"):
        bare = re.findall(r'"uv", "pip", (?!verb|"compile")', path.read_text())
        assert bare == [], f"{path.name}: use environment.uv_pip"


def test_a_persons_own_settings_do_not_lead_packages_astray(project, monkeypatch):
    for name in environment.MISLEADING:
        monkeypatch.setenv(name, "/elsewhere")
    variables = environment.inside(project / ".venv")
    assert not set(environment.MISLEADING) & set(variables)
    assert variables["PATH"].startswith(str(environment.python_of(project / ".venv").parent) + os.pathsep)


# tools/env: which Python


def choose_python(tmp_path, *, variables=None, **pythons):
    """Run tools/env in a copy, with fake Pythons on the PATH (name -> exit status of the probe) that print their name."""
    tools, path = tmp_path / "tools", tmp_path / "bin"
    tools.mkdir()
    path.mkdir()
    (tools / "env").write_bytes((PROJECT / "tools" / "env").read_bytes())
    for name, probe in pythons.items():
        program = path / name.replace("_", ".")
        program.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit {probe}\necho "${{0##*/}} PYTHONPATH=$PYTHONPATH $2 $3"\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    for name in ("dirname", "cat"):
        (path / name).symlink_to(f"/usr/bin/{name}" if Path(f"/usr/bin/{name}").exists() else f"/bin/{name}")
    variables = {"PATH": str(path), "PYTHONPATH": "/broken", **(variables or {})}
    return subprocess.run(["/bin/sh", str(tools / "env"), "pytest", "-q"], capture_output=True, text=True, env=variables)


def test_the_first_python_that_is_new_enough_and_has_venv_is_taken(tmp_path):
    done = choose_python(tmp_path, python3=1, python3_13=127, python3_12=0, python3_11=0)
    assert done.stdout == "python3.12 PYTHONPATH= pytest -q\n"


def test_a_python_can_be_named(tmp_path):
    done = choose_python(tmp_path, python3=0, python3_11=0, variables={"MLCOURSE_PYTHON": "python3.11"})
    assert done.stdout.startswith("python3.11 ")


def test_without_a_usable_python_the_message_says_what_to_install(tmp_path):
    done = choose_python(tmp_path, python3=1)
    assert done.returncode == 1
    assert "None of these is a Python 3.11 or newer that has its venv module: python3, python3.13" in done.stderr
    assert "apt install python3 python3-venv" in done.stderr and "MLCOURSE_PYTHON=" in done.stderr


def test_a_command_that_does_not_exist_is_a_sentence(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(environment, "ensure", lambda project: tmp_path)
    assert environment.main(["no-such-command"]) == 127
    assert "there is no command 'no-such-command'" in capsys.readouterr().err


# The lists of packages


def locked():
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    return {r.name: r for r in map(Requirement, (line for line in lines if not line.startswith("#")))}


def direct():
    """Every requirement of pyproject.toml that `make test` needs, the project's own extras unfolded."""
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    extras = declared["optional-dependencies"]
    wanted = [*declared["dependencies"], *extras["torch"], *extras["lab"], *extras["dev"]]
    return [Requirement(text) for text in wanted if not text.startswith("mlcourse")]


@pytest.mark.parametrize("requirement", direct(), ids=str)
def test_the_tested_set_holds_a_version_that_the_package_accepts(requirement):
    pin = next(iter(locked()[requirement.name].specifier))
    assert pin.operator == "=="
    assert requirement.specifier.contains(pin.version)


def test_the_tested_set_has_no_cuda_and_no_address():
    text = (PROJECT / "requirements.txt").read_text()
    assert not re.search(r"nvidia|cuda|triton|\+cpu|://|--", text.lower().replace("(python 3.11, cpu)", ""))


def test_the_package_pins_nothing_that_colab_has():
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    for text in [*declared["dependencies"], *declared["optional-dependencies"]["torch"]]:
        operators = {specifier.operator for specifier in Requirement(text).specifier}
        assert operators == {">="}, f"{text}: lower bounds only"


def test_the_environment_here_is_the_tested_set():
    from importlib.metadata import PackageNotFoundError, version

    for name in ("numpy", "jax", "flax", "optax", "torch", "matplotlib", "ipywidgets", "nbval", "papermill"):
        try:
            assert locked()[name].specifier.contains(version(name)), f"{name} {version(name)} is installed"
        except PackageNotFoundError:
            pytest.fail(f"{name} is not installed")


def test_the_lock_leaves_out_cuda_and_what_slows_every_notebook_tool():
    lines = [
        "cuda-toolkit==13.2.2 ; sys_platform == 'linux'",
        "jax==0.10.2",
        "rfc3987-syntax==1.1.0",
        "torch==2.13.0+cpu ; x",
        "torch==2.13.0 ; x",
    ]
    assert lock.keep(lines) == ["jax==0.10.2", "torch==2.13.0 ; x"]


# Binder and make


def test_binder_takes_the_wanted_python_and_files():
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--no-run", "--debug", str(PROJECT)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Building conda environment for python=3.11\n" in said
    assert 'pip install --no-cache-dir -r "binder/requirements.txt"' in said
    assert "RUN ./binder/postBuild" in said
    assert 'R2D_ENTRYPOINT="${REPO_DIR}/binder/start"' in said


def test_every_make_target_is_in_the_help():
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    listed = subprocess.run(["make", "--no-print-directory"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^  make ([a-z-]+) +\w", listed, re.MULTILINE)) == targets
    phony = re.search(r"^\.PHONY: (.*)$", (PROJECT / "Makefile").read_text(), re.MULTILINE)[1]
    assert set(phony.split()) == targets
