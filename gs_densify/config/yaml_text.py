"""YAML whose numbers remember how they were written: a scene may be called 007, a label 1.50."""

from typing import Any

import yaml


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
