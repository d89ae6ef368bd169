"""What importing pycolmap leaves behind."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["scene.photos.lens", "reconstruct.wait"])
def test_a_job_that_is_stopped_ends_without_a_stack_trace(module: str) -> None:
    code = f"import os, gs_densify.{module}; os.kill(os.getpid(), 15)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-15, "")
