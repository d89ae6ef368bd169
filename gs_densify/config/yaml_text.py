"""YAML of users, whose numbers remember how they were written: a scene may be called 007, a label
1.50.
"""

from pathlib import Path
from typing import Any

import yaml

from gs_densify.errors import ConfigError, reason_of
from gs_densify.text_file import read_text


class WrittenInt(int):
    """A whole number that is shown as it was written."""

    text: str

    def __str__(self) -> str:
        return self.text


class WrittenFloat(float):
    """A number that is shown as it was written."""

    text: str

    def __str__(self) -> str:
        return self.text


class TextKeepingLoader(yaml.SafeLoader):
    """YAML's safe loader, with the numbers above."""


def _written(kind: type, construct: Any) -> Any:
    def construct_written(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
        number = kind(construct(loader, node))
        number.text = node.value
        return number

    return construct_written


for _tag, _kind, _construct in (
    ("int", WrittenInt, yaml.SafeLoader.construct_yaml_int),
    ("float", WrittenFloat, yaml.SafeLoader.construct_yaml_float),
):
    TextKeepingLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _written(_kind, _construct))


_MOST_NODES = 100_000
"""Values in a file, those counted again that an alias repeats."""


def read_yaml(
    path: Path, loader: type[yaml.SafeLoader], *, holds: str, usual: str, option: str = ""
) -> Any:
    """Returns what a file says that a user has named.

    Args:
        path: the file.
        loader: of the values.
        holds: what is expected in it.
        usual: the name that such a file has in a folder, which may be named in its place.
        option: with which it is named, if any.

    Raises:
        ConfigError: it cannot be read, or is no YAML.
    """
    try:
        return load_yaml(read_text(path), loader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file", option=option) from None
    except IsADirectoryError:
        file, flag = path / usual, f"--{option} " if option else ""
        raise ConfigError(
            f"{path}: is a folder",
            action=f"give {flag}{file}" if file.is_file() else f"name the file of {holds}",
            option=option,
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({reason_of(error)})", option=option) from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: is not valid YAML ({reason})", option=option) from None


def load_yaml(text: str, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Any:
    """Returns what YAML of a user says.

    Raises:
        yaml.YAMLError: it is none, is nested without end, or holds more than options can mean.
    """
    parser = loader(text)
    try:
        root = parser.get_single_node()
        if root is None:
            return None
        if _size(root, {}) > _MOST_NODES:
            raise yaml.YAMLError(f"its aliases stand for more than {_MOST_NODES:,} values")
        return parser.construct_document(root)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None
    except ValueError as error:  # e.g. of the 13th month
        raise yaml.YAMLError(str(error)) from None
    finally:
        parser.dispose()


def _size(node: yaml.Node, sizes: dict[int, int | None]) -> int:
    """Returns how many values a node holds, aliases written out; `sizes` has those seen before."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in sizes:
        sizes[id(node)] = None
        is_mapping = isinstance(node, yaml.MappingNode)
        inner = [one for pair in node.value for one in pair] if is_mapping else node.value
        sizes[id(node)] = 1 + sum(_size(one, sizes) for one in inner)
    size = sizes[id(node)]
    if size is None:
        raise yaml.YAMLError("an alias stands for what it is in itself")
    return size
