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
