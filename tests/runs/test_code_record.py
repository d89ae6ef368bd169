"""Results say which code made them: what was loaded, whatever lies there at the end."""

from pathlib import Path

from gs_densify.config.options import EvaluationOptions, TrainConfig
from gs_densify.results import CodeRecord
from gs_densify.runs.run_state import differences
from gs_densify.runs.train import train
from gs_densify.source import module_digest, package_digest

EDITING = """
from dataclasses import dataclass
from pathlib import Path

from beside import DefaultStrategy


@dataclass
class EditingStrategy(DefaultStrategy):
    def step_post_backward(self, params, optimizers, state, step, info, packed=False):
        for name in ("editing.py", "beside.py"):
            Path(__file__).with_name(name).write_text("# other code")
"""
BESIDE = "from gs_densify.strategies.methods.default import DefaultStrategy\n"


def test_a_file_that_is_edited_during_the_training_is_not_taken_for_what_ran(
    tmp_path: Path,
) -> None:
    strategy, beside = tmp_path / "editing.py", tmp_path / "beside.py"
    strategy.write_text(EDITING)
    beside.write_text(BESIDE)
    before = module_digest(strategy)
    beside.write_text(f"{BESIDE}# more\n")
    then = module_digest(strategy)
    results, _ = train(
        TrainConfig(
            scene="tiny",
            strategy=str(strategy),
            device="cpu",
            steps=2,
            out=tmp_path / "run",
            evaluation=EvaluationOptions(lpips=(), pictures=0),
        ),
        [],
    )
    assert strategy.read_text() == beside.read_text() == "# other code"
    assert results.code is not None
    assert (results.code.strategy, results.code.package) == (then, package_digest())
    assert len({before, then, module_digest(strategy)}) == 3


def test_what_differs_is_named() -> None:
    then = CodeRecord(strategy="a", package="b", commit="c")
    assert differences(then, CodeRecord(strategy="a", package="b", commit="d")) == []
    assert differences(then, CodeRecord(strategy="x", package="b")) == ["its strategy"]
    assert differences(then, CodeRecord(strategy="x", package="y")) == [
        "its strategy",
        "gs_densify",
    ]
    assert differences(None, then) == ["gs_densify"], "a version that did not keep it"
