"""The notebook tools: execute, strip, run, lint, and the settings under which nbval compares."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from mlcourse import __main__ as command_line
from mlcourse import lint, notebooks, site

PROJECT = Path(__file__).parent.parent
STORED = sorted(path for folder in ("notebooks", "solutions", "exercises") for path in (PROJECT / folder).glob("*.ipynb"))
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def lesson(tmp_path, *cells, name="01_tiny.ipynb", folder="notebooks", drop=()):
    """A notebook that lints clean by itself, with `cells` (sources or cells) after its head."""
    path = tmp_path / folder / name
    path.parent.mkdir(exist_ok=True)
    head = {
        "badges": new_markdown_cell(f"# Tiny\n\n{site.badges(path)}"),
        "setup": new_code_cell(site.setup_cell(), metadata={"tags": ["setup"]}, execution_count=1),
        "parameters": new_code_cell("seed = 0", metadata={"tags": ["parameters"]}, execution_count=2),
    }
    body = [new_code_cell(cell) if isinstance(cell, str) else cell for cell in cells]
    everything = [cell for part, cell in head.items() if part not in drop] + body
    for number, cell in enumerate(everything):
        cell.id = f"cell-{number}"
    nbformat.write(new_notebook(cells=everything), path)
    return path


def code(source="1 + 1", *outputs, count=3, tags=None, **metadata):
    metadata |= {"tags": tags} if tags else {}
    return new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


def shown(**data):
    kinds = {"text": "text/plain", "html": "text/html", "png": "image/png", "widget": notebooks.WIDGET}
    return new_output("display_data", data={kinds[kind]: value for kind, value in data.items()})


def printed(text, name="stdout"):
    return new_output("stream", name=name, text=text)


# The stored notebooks


@pytest.mark.parametrize("path", STORED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_stored_notebook_has_no_findings(path):
    assert list(map(str, lint.lint(path))) == []


def test_the_hooks_of_a_commit_change_no_byte_of_the_stored_notebooks(tmp_path):
    hooks = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    command = shlex.split(next(hook["entry"] for hook in hooks if hook["id"] == "nbstripout"))
    assert command[:2] == ["tools/env", "nbstripout"]
    copies = [Path(shutil.copy(path, tmp_path / f"{path.parent.name}-{path.name}")) for path in STORED]
    subprocess.run([sys.executable, "-m", *command[1:], *map(str, copies)], check=True)
    assert [path.name for path, copy in zip(STORED, copies, strict=True) if path.read_bytes() != copy.read_bytes()] == []


# Lint: a clean notebook has no finding, and each rule finds its slip


def test_a_clean_notebook_has_no_findings(tmp_path):
    figure = shown(png=PNG, text="<Figure size 640x480 with 1 Axes>")
    cells = [
        code("print(2)", printed("2\n")),
        code("draw()", figure, printed("loss falls from 2.3 to 0.1\n"), count=4),
        code("import time\n%time work()", printed("3 s"), count=5, tags=["nbval-ignore-output"]),
        code("raise KeyError", new_output("error", ename="KeyError", evalue=""), count=6, tags=["raises-exception"]),
        code("def train(): ...", count=7, tags=["mirrors:mlcourse.train:train", "exercise-1.1", "solution"]),
        new_markdown_cell("See /home/ in prose, or https://site.org/home/page; it is not code;"),
        code("value = 'https://site.org/home/page'", count=8),
    ]
    assert lint.lint(lesson(tmp_path, *cells)) == []


@pytest.mark.parametrize(
    "cell, what, cure",
    [
        (code(count=None), "no execution count, so nbval runs the cell and never compares it", "mlcourse execute"),
        (code(count=7), "execution count 7 where 3 follows", "from top to bottom"),
        (code("plt.plot(x);"), "a trailing `;`", r"plt\.show\(\)"),
        (code("plt.plot(x);  # the curve\n# done"), "a trailing `;`", r"plt\.show\(\)"),
        (code("Out[1] + 1"), r"Out\[...\] is read", "a name"),
        (code("from IPython.display import clear_output"), r"cleared or updated \(clear_output\)", "final state"),
        (code("display(x, display_id='a')"), r"cleared or updated \(display_id\)", "final state"),
        (code("handle.update_display(x)"), r"cleared or updated \(update_display\)", "final state"),
        (code("for x in tqdm(xs): pass"), r"a progress bar or a time in a compared cell \(tqdm\(\)", "nbval-ignore-output"),
        (code("%%time\nwork()"), r"a time in a compared cell \(%%time\)", "nbval-ignore-output"),
        (code("%timeit work()"), r"a time in a compared cell \(%timeit\)", "nbval-ignore-output"),
        (code(tags=["nbval-ignore-ouput"]), "unknown tag 'nbval-ignore-ouput'", r"lint\.TAGS"),
        (code(tags=["mirrors:train"]), "unknown tag 'mirrors:train'", r"lint\.TAGS"),
        (code(collapsed=True), "metadata collapsed", "mlcourse strip"),
        (code("open('/home/ada/x.csv')"), r"path is in the code \(/home/ada/x", "parameter"),
        (code("open('/root/x')"), r"path is in the code \(/root/x", "parameter"),
        (code(r"open('C:\\Users\\ada')"), r"path is in the code \(C:\\+Users", "parameter"),
        (code("f()", printed("saved /tmp/x/y.npz\n")), r"path in the output \(/tmp/x/y\.npz\)", "relative"),
        (code("f()", shown(text="'/Users/ada/course'")), r"path in the output \(/Users/ada/course", "relative"),
        (code("f()", shown(text="<Line2D at 0x7f3a5c0d>")), r"an object's address in the output \(at 0x7f3a", "last value"),
        (code("f()", shown(html='<div id="df-1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed">')), "ids that change", "Markdown"),
        (code("f()", shown(html="<style>#T_3af21</style><table id='T_3af21'>")), "ids that change", "Markdown"),
        (code("f()", shown(html='<script src="treescope_out_1"></script>')), "ids that change", "Markdown"),
        (code("f()", shown(text="Explorer", widget={"model_id": "0a"})), "a widget's model id", "mlcourse strip"),
        (code("f()", printed("UserWarning: old\n", "stderr")), r"text on stderr \(UserWarning: old\)", "mend what warns"),
        (code("f()", new_output("error", ename="KeyError", evalue="'a'")), r"a stored error \(KeyError\)", "again"),
        (code("f()", shown(png=PNG, text="<Figure size 640x480 with 1 Axes>")), "a figure without words", "describe"),
        (code("f()", shown(png=PNG)), "a figure without words", "describe"),
        (code("\n".join(["x = 1"] * 31)), "31 lines of code, and 30 is the limit", "split"),
        (code("# only a remark"), "a code cell without code", "delete"),
    ],
)  # fmt: skip
def test_a_slip_in_a_cell_is_found_with_its_cure(tmp_path, cell, what, cure):
    findings = lint.lint(lesson(tmp_path, cell))
    assert len(findings) == 1
    assert findings[0].cell == 4
    assert re.search(what, findings[0].what)
    assert re.search(cure, findings[0].cure)


@pytest.mark.parametrize(
    "drop, what",
    [
        ("parameters", "0 cells are tagged `parameters`"),
        ("setup", r"the set-up cell is not the one of mlcourse\.site"),
        ("badges", "the badges in the first cell are not those"),
    ],
)
def test_a_missing_head_cell_is_found(tmp_path, drop, what):
    found = [finding for finding in lint.lint(lesson(tmp_path, drop={drop})) if finding.cell is None]
    assert len(found) == 1
    assert re.search(what, found[0].what)


def test_an_edited_set_up_cell_and_old_badges_are_found(tmp_path):
    path = lesson(tmp_path)
    path.write_text(path.read_text().replace("--no-deps", "--upgrade").replace("mybinder.org", "mybinder.net"))
    assert [finding.what.split(" ")[1] for finding in lint.lint(path)] == ["set-up", "badges"]


def test_metadata_of_the_notebook_are_found(tmp_path):
    path = lesson(tmp_path)
    notebook = nbformat.read(path, 4)
    notebook.metadata = {"papermill": {}, "widgets": {}, "language_info": {"name": "python", "version": "3.11.7"}}
    nbformat.write(notebook, path)
    assert [finding.what for finding in lint.lint(path)] == ["metadata papermill, widgets, language_info.version"]


def test_solutions_need_no_parameters(tmp_path):
    path = lesson(tmp_path, folder="solutions", drop={"parameters"})
    assert lint.lint(path) == []


def test_exercises_are_stored_without_outputs(tmp_path):
    bare = code("f()", count=None)
    path = lesson(tmp_path, bare, folder="exercises", drop={"parameters"})
    whats = [finding.what for finding in lint.lint(path)]
    assert whats == ["an exercise is stored with outputs"]  # the set-up cell of `lesson` has a count


def test_the_lint_command_lists_findings_with_file_and_cell(tmp_path, capsys, monkeypatch):
    lesson(tmp_path, code("plt.plot(x);"))
    lesson(tmp_path, name="02_clean.ipynb")
    monkeypatch.chdir(tmp_path)
    assert command_line.main(["lint", "notebooks"]) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("notebooks/01_tiny.ipynb:cell 4: a trailing `;`: ")
    assert last == "2 notebooks, 1 findings"
    assert command_line.main(["lint", "notebooks/02_clean.ipynb"]) == 0


def test_the_lint_command_refuses_a_place_that_is_not_there(capsys):
    assert command_line.main(["lint", "no_such_folder"]) == 2
    assert "there is no no_such_folder here" in capsys.readouterr().err


# Strip


def test_strip_keeps_what_is_compared_and_drops_what_differs():
    widget = shown(text="Explorer", widget={"model_id": "random"})
    recorded = new_output("display_data", data={"text/plain": "a = 1"}, metadata={"mlcourse": {"name": "a", "value": 1.0}})
    cell = code(
        "f()",
        widget,
        shown(widget={"model_id": "random"}),
        recorded,
        count=5,
        tags=["setup"],
        papermill={"duration": 3},
    )
    notebook = new_notebook(cells=[cell], metadata={"papermill": {}, "language_info": {"name": "python", "version": "3.11"}})
    stripped = notebooks.strip(notebook)
    assert stripped.metadata == {"kernelspec": notebooks.KERNEL, "language_info": {"name": "python"}}
    assert stripped.cells[0].metadata == {"tags": ["setup"]}
    assert [output.data for output in stripped.cells[0].outputs] == [
        {"text/plain": "Explorer"},
        {"text/plain": "a = 1"},
    ]
    assert stripped.cells[0].outputs[1].metadata == {"mlcourse": {"name": "a", "value": 1.0}}
    assert (stripped.cells[0].execution_count, stripped.cells[0].id) == (5, cell.id)
    assert notebook.metadata.papermill == {}, "the notebook that was passed is changed"
    assert notebooks.strip(stripped) == stripped


def test_the_strip_command_leaves_a_notebook_that_lints_clean(tmp_path):
    path = lesson(tmp_path, code("f()", shown(text="Explorer", widget={"model_id": "0a"}), collapsed=True))
    assert len(lint.lint(path)) == 2
    assert command_line.main(["strip", str(path)]) == 0
    assert lint.lint(path) == []


# Execute and run


def test_executing_twice_gives_the_same_bytes_and_lints_clean(tmp_path, capsys):
    draw = "import matplotlib.pyplot as plt\nplt.plot([0, 1])\nplt.show()\nprint('a line')"
    path = lesson(
        tmp_path,
        "import sys\nprint('out')\nsys.stdout.flush()\nprint('more')",
        draw,
        "import ipywidgets; ipywidgets.IntSlider()",
    )
    assert command_line.main(["execute", str(path)]) == 0
    first = path.read_bytes()
    assert command_line.main(["execute", str(path)]) == 0
    assert path.read_bytes() == first
    notebook = nbformat.read(path, 4)
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3, 4, 5]
    assert [cell.id for cell in notebook.cells] == [f"cell-{n}" for n in range(6)]
    assert notebook.cells[3].outputs == [printed("out\nmore\n")]
    assert lint.lint(path) == []
    assert [child.name for child in path.parent.iterdir()] == ["01_tiny.ipynb"]


def test_a_failing_cell_leaves_the_file_and_is_named(tmp_path, capsys):
    path = lesson(tmp_path, "def f():\n    raise ValueError('rate=-1 is negative')", "f()")
    before = path.read_bytes()
    assert command_line.main(["execute", str(path)]) == 1
    assert re.search(
        r"01_tiny\.ipynb, cell 5: ValueError: rate=-1 is negative\nThe cell begins:\n    f\(\)", capsys.readouterr().err
    )
    assert path.read_bytes() == before


def test_a_run_prints_the_headline_numbers_and_where_the_notebook_lies(tmp_path, capsys):
    path = lesson(tmp_path, "from mlcourse.record import record\nrecord('test_error', 0.031)\nrecord('steps', 600)")
    before = path.read_bytes()
    assert command_line.main(["run", str(path), "--out", str(tmp_path / "runs")]) == 0
    captured = capsys.readouterr()
    assert "  test error  0.031\n  steps       600\n" in captured.out
    assert str(tmp_path / "runs" / "01_tiny.ipynb") in captured.out
    assert "cell" in captured.err  # the progress bar
    assert path.read_bytes() == before
    assert [child.name for child in (tmp_path / "runs").iterdir()] == ["01_tiny.ipynb"]


def test_a_failed_run_names_the_cell_and_keeps_the_notebook_up_to_there(tmp_path, capsys):
    path = lesson(tmp_path, "1 / 0")
    assert command_line.main(["run", str(path), "--out", str(tmp_path / "runs")]) == 1
    assert re.search(
        r"01_tiny\.ipynb, cell 4: ZeroDivisionError: division by zero\n[\s\S]*_failed\.ipynb", capsys.readouterr().err
    )
    assert [child.name for child in (tmp_path / "runs").iterdir()] == ["01_tiny_failed.ipynb"]


def test_a_kernel_that_dies_is_a_sentence(tmp_path):
    path = lesson(tmp_path, "import os; os._exit(1)")
    with pytest.raises(notebooks.NotebookError, match="its kernel died. Was the memory used up?"):
        notebooks.execute(path)


def test_a_notebook_that_is_not_there_is_a_sentence(capsys):
    assert command_line.main(["run", "notebooks/99_none.ipynb"]) == 2
    assert "there is no notebook notebooks/99_none.ipynb" in capsys.readouterr().err


def test_half_a_notebook_is_never_left(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text("old")
    with pytest.raises(RuntimeError), notebooks.replaced(path) as new:
        new.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["a.ipynb"]


# The command line


def test_an_unknown_command_is_named_with_the_nearest_known_one(capsys):
    assert command_line.main(["excute"]) == 2
    assert "unknown command 'excute'. Did you mean 'execute'?" in capsys.readouterr().err


def test_help_lists_every_command(capsys):
    assert command_line.main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {name} " in listed for name in command_line.COMMANDS)


def test_a_missing_package_is_a_sentence(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nbclient", None)
    monkeypatch.delitem(sys.modules, "mlcourse.notebooks")
    assert command_line.main(["run", "x.ipynb"]) == 1
    assert "`run` needs the package nbclient: pip install 'mlcourse[lab]'" in capsys.readouterr().err


# conftest.py: nbval with Jupyter's behaviour and a tolerance. One pytest run judges all the notebooks below.

COMPARED = {  # name: (source, stored output, whether nbval must accept it)
    "same_text": ("print('loss 0.30')", printed("loss 0.30\n"), True),
    "other_last_digit": ("print('loss 0.30001')", printed("loss 0.30000\n"), True),
    "third_digit_rounded": ("print('loss 0.159 or 2.50e-05')", printed("loss 0.160 or 2.51e-05\n"), True),
    "third_digit_off_by_two": ("print('loss 0.158')", printed("loss 0.160\n"), False),
    "short_number_off_by_one": ("print('loss 0.010')", printed("loss 0.011\n"), False),
    "other_second_digit": ("print('loss 0.31')", printed("loss 0.30\n"), False),
    "other_word": ("print('lass 0.30')", printed("loss 0.30\n"), False),
    "other_integer": ("print('1001 steps')", printed("1000 steps\n"), False),
    "one_number_more": ("print('0.30 0.30')", printed("0.30\n"), False),
    "small_exponent": ("print(1e-09, 'apart')", printed("3e-09 apart\n"), True),
    "other_exponent": ("print(1e-03, 'apart')", printed("1e-04 apart\n"), False),
    "other_sign": ("print(-0.5)", printed("0.5\n"), False),
    "nan_for_number": ("print(float('nan'))", printed("0.5\n"), False),
    "semicolon": ("1 + 1;", None, True),
    "out_is_known": ("x = 2\nx", new_output("execute_result", data={"text/plain": "2"}, execution_count=1), True),
    "json_close": ("display({'application/json': {'a': 0.30001}}, raw=True)",
                   new_output("display_data", data={"application/json": {"a": 0.3}}), True),
    "json_other": ("display({'application/json': {'a': 0.31}}, raw=True)",
                   new_output("display_data", data={"application/json": {"a": 0.3}}), False),
    "within the tag": ("print('error 7.6 %')", printed("error 8.1 %\n"), True),
    "within not": ("print('error 7.5 %')", printed("error 8.1 %\n"), False),
    "within words": ("print('errors 7.6 %')", printed("error 8.1 %\n"), False),
    "missing_output": ("x = 1", printed("1\n"), False),
    "unexpected_output": ("print(1)", None, False),
}  # fmt: skip


@pytest.fixture(scope="module")
def nbval_says(tmp_path_factory):
    """name -> whether nbval accepted its cell, from one notebook judged under the repository's conftest.py."""
    folder = tmp_path_factory.mktemp("nbval")
    shutil.copy(PROJECT / "conftest.py", folder)
    cells = [
        code(source, *([output] if output else []), count=1, tags=["within:0.5"] if name.startswith("within") else [])
        for name, (source, output, _) in COMPARED.items()
    ]
    known = list(COMPARED).index("out_is_known") + 1
    cells.append(code(f"Out[{known}]", count=2, tags=["nbval-ignore-output"]))
    nbformat.write(new_notebook(cells=cells), folder / "compared.ipynb")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-current-env",
        "-rA",
        "-p",
        "no:cacheprovider",
        "--color=no",
        ".",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    lines = re.findall(r"^(PASSED|FAILED) \S+::Cell (\d+)", done.stdout, re.MULTILINE)
    verdicts = {int(number): word == "PASSED" for word, number in lines}
    assert len(verdicts) == len(cells), done.stdout + done.stderr
    names = [*COMPARED, "Out[n]"]
    return {name: verdicts[number] for number, name in enumerate(names)} | {"noise": done.stderr}


@pytest.mark.parametrize("name", COMPARED)
def test_nbval_accepts_close_numbers_and_nothing_else(nbval_says, name):
    assert nbval_says[name] == COMPARED[name][2]


def test_under_nbval_out_n_works_as_in_jupyter(nbval_says):
    assert nbval_says["Out[n]"]


def test_nbval_prints_no_warning_about_its_kernels(nbval_says):
    assert nbval_says["noise"] == ""


def test_a_kernel_that_dies_at_its_start_gets_a_second_chance(pytestconfig, tmp_path):
    conftest = the_conftest(pytestconfig)
    calls = []

    def start(*args, **kwargs):
        calls.append(kwargs["env"]["MLCOURSE_PROGRESS"])
        if len(calls) < fail_until:
            raise RuntimeError("Kernel died before replying to kernel_info")
        return "manager", "client"

    fail_until = 3
    assert conftest.with_second_chance(start, str(tmp_path))() == ("manager", "client")
    assert len(calls) == 3
    calls, fail_until = [], 9
    with pytest.raises(RuntimeError, match="died"):
        conftest.with_second_chance(start, str(tmp_path))()
    assert len(calls) == 3


def the_conftest(pytestconfig):
    plugins = pytestconfig.pluginmanager.get_plugins()
    return next(plugin for plugin in plugins if getattr(plugin, "__file__", None) == str(PROJECT / "conftest.py"))


def test_a_notebook_over_its_budget_of_processor_time_fails(pytestconfig):
    over_budget = the_conftest(pytestconfig).over_budget
    assert over_budget(Path("x/notebooks/01_training_loop.ipynb"), 119) is None
    assert "01_training_loop.ipynb took 121 s of processor time; its budget of 60 s on two cores is 120" in over_budget(
        Path("x/notebooks/01_training_loop.ipynb"), 121
    )


def test_what_a_kernel_computed_is_counted_when_it_has_ended(pytestconfig, monkeypatch):
    conftest = the_conftest(pytestconfig)
    seen = []
    monkeypatch.setattr(conftest, "over_budget", lambda path, seconds: seen.append(seconds) or "too long")
    burn = [sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"]
    with pytest.raises(pytest.fail.Exception, match="too long"):
        conftest.with_budget(lambda file: subprocess.run(burn, check=True))(SimpleNamespace(path="a.ipynb"))
    assert 0.5 <= seen[0] < 5
