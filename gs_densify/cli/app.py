"""What the commands share: errors become one line and an exit code.

Above the line stand the frames of the user's own files that the error went through, if any; with
--debug, all frames.

Exit codes: 0 done, 2 something that the user can mend, 3 a strategy that broke its contract,
75 a run that was told to end (see runs/pause.py) and can be resumed, 130 interrupted, 141 the
reader of the output has gone (as after `| head`); 1 of gs-bench: cells of a study have failed;
anything else is a fault of ours and shows its traceback.
"""

import gc
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from gs_densify.cli import interrupt
from gs_densify.distributed import last_word
from gs_densify.errors import GsDensifyError
from gs_densify.flags.parse import one_line
from gs_densify.trace import own_lines


def run_command(program: str, command: Callable[[Sequence[str]], int | None]) -> None:
    """Calls `command` with the arguments, and exits with what it returns or raises."""
    _let_stderr_fail()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name that the terminal or a pipe cannot show is escaped, as on stderr.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = command(sys.argv[1:]) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
        sys.exit(code)
    except GsDensifyError as error:
        print_lines_of(error, file=sys.stderr)  # first: the last line of a log says what happened
        _say(f"{program}: {one_line(str(error))}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        interrupt.say_interrupted(program)
        sys.exit(interrupt.CODE)
    except BrokenPipeError:
        # Python flushes at exit, too, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:  # of a path that no system could open, or a disk that is full
        print_lines_of(error, file=sys.stderr)
        _say(f"{program}: {one_line(_words_of(error))}")
        sys.exit(GsDensifyError.exit_code)
    finally:
        interrupt.leave()


def _say(line: str) -> None:
    """Says why the command ends."""
    print(line, file=sys.stderr)
    last_word.leave(line)


def _words_of(error: OSError) -> str:
    """Returns what the system refused, with the file where it says which."""
    reason = error.strerror or str(error)
    return f"{os.fsdecode(error.filename)}: {reason}" if error.filename is not None else reason


def print_lines_of(error: Exception, file: TextIO) -> None:
    """Prints what led to an error: the user's own lines, or with --debug all."""
    is_debug = "--debug" in sys.argv  # no option takes such a value
    lines = "".join(traceback.format_exception(error)) if is_debug else own_lines(error)
    if lines:
        print(lines, file=file)


class _MayFail(io.FileIO):
    """A file of which nobody needs to know when it cannot be written."""

    def write(self, data: Any) -> int:
        """Writes what can be written."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _let_stderr_fail() -> None:
    """Goes on without remarks and progress where stderr is closed, full, or nobody reads it."""
    if sys.stderr is None:
        # It takes number 2, else the next file would, and get what libraries complain of.
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    elif isinstance(sys.stderr, io.TextIOWrapper) and sys.stderr is sys.__stderr__:
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_MayFail(2, "w", closefd=False)),
            encoding=sys.stderr.encoding,
            errors="backslashreplace",
            line_buffering=True,
            write_through=True,
        )


@contextmanager
def importing() -> Iterator[None]:
    """Keeps the garbage collector away from what is imported, which is no garbage.

    It would look through torch's modules again and again, and for up to a second at the end of the
    process. What is imported later it has to collect: Triton complains of objects that are left.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
