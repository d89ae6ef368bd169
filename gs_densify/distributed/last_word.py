"""What torchrun's report shows of a process that has ended in an error. Imports no torch."""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

_FILE = "TORCHELASTIC_ERROR_FILE"
"""torchrun sets it for each process, and reads the file once one has failed."""


def leave(line: str) -> None:
    """Leaves the line that says why this process ends, in the form of torch's `ErrorHandler`.

    torchrun's report would else point to a page on how to show a traceback.
    """
    path = os.environ.get(_FILE)
    if not path:
        return
    details = {"py_callstack": line, "timestamp": str(int(time.time()))}
    with suppress(OSError):
        Path(path).write_text(json.dumps({"message": {"message": line, "extraInfo": details}}))
