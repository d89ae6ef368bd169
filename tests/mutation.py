"""Changes the package in one place at a time, and says which changes no test notices.

    python tests/mutation.py gs_densify/training/trainer.py --most 100

Runs cosmic-ray's operators in a copy of the checkout. Each change is tried in a fork of a process
that has torch loaded already, by those tests alone that run its line (found with coverage). Tests
that call commands in processes of their own are not seen, nor lines that need a GPU. The session
file is cosmic-ray's: `cr-report --surviving-only --show-diff FILE` prints it.
"""

import argparse
import ast
import importlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import coverage
import pytest
import torch
from cosmic_ray.commands import init
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome, WorkerOutcome, WorkItem, WorkResult

# What takes long to import, before the forks; torch's optimisers import its compiler.
for _name in ("torch._dynamo", "torchmetrics", "hypothesis", "scipy.spatial", "imageio", "tyro"):
    importlib.import_module(_name)

ROOT = Path(__file__).parents[1]
TESTS = ("training", "strategies", "evaluation", "model", "config", "runs")
LEFT_OUT = ("-k", "not interpreted")
# In seconds; what takes longer is an endless loop, and counts as killed.
TIMEOUT = 90.0
# One changes nothing; the other stops at `except module.Name` (cosmic-ray 8.7).
NOT_TRIED = ("core/NoOp", "core/ExceptionReplacer")
_NO_TEST = "no test runs this line"


def main() -> None:
    """Print killed, survived and not-run changes of each module, and the survivors."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="+", help="files of the package, from the root")
    parser.add_argument("--most", type=int, default=10**6, help="changes of a module, drawn evenly")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--session", type=Path, default=Path("mutation.sqlite"))
    parser.add_argument("--deselect", action="append", default=[], help="tests that fail already")
    parser.add_argument("--coverage", type=Path, help="of an earlier call; kept here if new")
    options = parser.parse_args()
    session = options.session.resolve()
    measured = (options.coverage or session.with_suffix(".coverage")).resolve()
    with tempfile.TemporaryDirectory() as folder:
        _copy_checkout(Path(folder))
        os.chdir(folder)
        sys.path[:0] = [folder]
        os.environ |= {"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        torch.set_num_threads(1)
        arguments = [*LEFT_OUT, *(f"--deselect={test}" for test in options.deselect)]
        if options.coverage is None or not measured.exists():
            _measure(measured, arguments)
        _compile()
        lines = _tests_by_line(options.modules, measured)
        with use_db(str(session)) as db:
            for module in options.modules:
                _try_module(db, module, lines[module], options, arguments)


def _copy_checkout(folder: Path) -> None:
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.check_output(listing, cwd=ROOT, text=True).splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def _try_module(
    db: WorkDB,
    module: str,
    tests_of: dict[int, set[str]],
    options: argparse.Namespace,
    arguments: list[str],
) -> None:
    items = _sample(module, options.most, random.Random(options.seed))
    db.add_work_items(items)
    counts: Counter[str] = Counter()
    statements = _statements(module)
    started = time.monotonic()
    for item in items:
        (mutation,) = item.mutations
        lines = _lines_of(statements, mutation.start_pos[0])
        tests = set().union(*(tests_of.get(line, set()) for line in lines))
        result = _try(mutation, tests, tests_of, arguments)
        db.set_result(item.job_id, result)
        outcome = "not run" if result.output == _NO_TEST else result.test_outcome.value
        counts[outcome] += 1
        if outcome == "survived":
            line = Path(module).read_text().splitlines()[mutation.start_pos[0] - 1].strip()
            print(
                f"  {module}:{mutation.start_pos[0]} {mutation.operator_name}: {line}", flush=True
            )
    print(f"{module}: {dict(counts)} in {time.monotonic() - started:.0f} s", flush=True)


def _try(
    mutation: MutationSpec, tests: set[str], tests_of: dict[int, set[str]], arguments: list[str]
) -> WorkResult:
    """Whether any of the tests fails; of a line that runs at import, those of the whole module."""
    if not tests:
        return WorkResult(WorkerOutcome.NORMAL, _NO_TEST, TestOutcome.SURVIVED)
    chosen = sorted(tests - {""}) or sorted(set().union(*tests_of.values()) - {""})
    operator = get_operator(mutation.operator_name)(**mutation.operator_args)
    with use_mutation(mutation.module_path, operator, mutation.occurrence):
        code = _forked(lambda: pytest.main(["-qx", "--no-header", *arguments, *chosen]))
    outcome = TestOutcome.SURVIVED if code == 0 else TestOutcome.KILLED
    return WorkResult(WorkerOutcome.NORMAL, f"exit {code}", outcome)


def _forked(work: Callable[[], int], timeout: float = TIMEOUT) -> int:
    """The exit code of `work` in a silent process of its own; -1 where it took too long."""
    process = os.fork()
    if process == 0:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        os._exit(work())
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return -1


def _measure(file: Path, arguments: list[str]) -> None:
    """Run all tests, and keep in `file` which of them runs which line."""

    def run() -> int:
        measured = coverage.Coverage(
            data_file=str(file), include=["gs_densify/*"], config_file=str(_coverage_settings())
        )
        measured.start()
        code = pytest.main(["-q", *arguments, *(f"tests/{name}" for name in TESTS)])
        measured.stop()
        measured.save()
        return int(code)

    file.unlink(missing_ok=True)
    if _forked(run, timeout=3600) != 0:
        file.unlink(missing_ok=True)
        sys.exit("tests fail before anything is changed; mend them, or leave them out (--deselect)")


def _compile() -> None:
    """Keep bytecode of the unchanged files, and from here on of no others: a change that keeps size
    and second of a file would be taken for the one before it."""
    _forked(lambda: pytest.main(["-q", "--collect-only", *(f"tests/{name}" for name in TESTS)]))
    sys.dont_write_bytecode = True


def _coverage_settings() -> Path:
    """Contexts are the tests; names of files do not depend on where the copy lies."""
    settings = Path(".coveragerc")
    settings.write_text("[run]\ndynamic_context = test_function\nrelative_files = True\n")
    return settings


def _tests_by_line(modules: list[str], file: Path) -> dict[str, dict[int, set[str]]]:
    """For each line of each module the tests that run it, "" for at import."""
    files = {
        path.stem: str(path) for folder in TESTS for path in Path("tests", folder).glob("*.py")
    }
    data = coverage.CoverageData(str(file))
    data.read()

    def test(context: str) -> str:
        module, _, name = context.rpartition(".")
        return f"{files[module]}::{name}" if module in files else ""

    return {
        module: {
            line: {test(context) for context in contexts}
            for line, contexts in data.contexts_by_lineno(module).items()
        }
        for module in modules
    }


def _sample(module: str, most: int, draw: random.Random) -> list[WorkItem]:
    """One change for each place in the code, outside annotations; `most` of them."""
    text = Path(module).read_text()
    skipped = {
        (node.lineno, column)
        for node in _annotations(ast.parse(text))
        for column in range(node.col_offset, node.end_col_offset)
    }
    stars = re.compile(r"(?:^|[(\[{,=:])\s*$")  # what is before *arguments, no product
    lines = text.splitlines()
    places: dict[tuple[int, int], list[WorkItem]] = {}
    with use_db(":memory:") as every:
        init([Path(module)], every, {})
        for item in sorted(every.work_items, key=_order):
            start = item.mutations[0].start_pos
            row, column = start
            if lines[row - 1][column] == "*" and stars.search(lines[row - 1][:column]):
                continue
            if start not in skipped and item.mutations[0].operator_name not in NOT_TRIED:
                places.setdefault(start, []).append(item)
    items = [draw.choice(places[start]) for start in sorted(places)]
    return draw.sample(items, most) if len(items) > most else items


def _order(item: WorkItem) -> tuple[str, int]:
    return item.mutations[0].operator_name, item.mutations[0].occurrence


def _annotations(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        for name in ("annotation", "returns"):
            found = getattr(node, name, None)
            if found is not None:
                yield found


def _statements(module: str) -> list[ast.stmt]:
    tree = ast.parse(Path(module).read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]


def _lines_of(statements: list[ast.stmt], line: int) -> range:
    """The lines of the innermost statement at `line`; of a compound one its head alone, but all of
    a function, whose head runs at import."""
    inside = [node for node in statements if _first(node) <= line <= (node.end_lineno or 0)]
    node = max(inside, key=_first)
    body = getattr(node, "body", None)
    if body is None or isinstance(node, ast.FunctionDef):
        return range(_first(node), (node.end_lineno or 0) + 1)
    return range(_first(node), max(body[0].lineno, line + 1))


def _first(node: ast.stmt) -> int:
    """Its first line, with decorators."""
    return min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))])


if __name__ == "__main__":
    main()
