"""What a person names as a text file, which may be a device that never ends."""

from pathlib import Path

import pytest

from gs_densify.bench.file import read_study
from gs_densify.config.file import read_config
from gs_densify.errors import GsDensifyError
from gs_densify.scene.split import read_test_list
from gs_densify.text_file import read_text


def test_text_is_read_with_or_without_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for content in (b"steps: 7\r\n\xc3\xa4", b"\xef\xbb\xbfsteps: 7\r\n\xc3\xa4"):
        path.write_bytes(content)
        assert read_text(path) == "steps: 7\r\nä"
        assert read_text(path, most=len(content)) == "steps: 7\r\nä"
        with pytest.raises(OSError, match="File too large"):
            read_text(path, most=len(content) - 1)


@pytest.mark.parametrize("read", [read_config, read_study, read_test_list])
def test_a_device_that_never_ends_is_refused(read) -> None:
    with pytest.raises(GsDensifyError, match=r"/dev/zero:? cannot be read \(File too large\)"):
        read(Path("/dev/zero"))
