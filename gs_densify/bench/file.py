"""The YAML file of a study, in which a key that is there twice is refused."""

from pathlib import Path
from typing import Any

import yaml

from gs_densify.bench.folder import STUDY
from gs_densify.bench.study import Study, parse_study, to_mapping
from gs_densify.config.yaml_text import read_yaml
from gs_densify.results.files import atomic_write


class _Loader(yaml.SafeLoader):
    """PyYAML's, but for keys that are there twice, of which it takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns the mapping; ConstructorError where a key is there twice."""
        seen: list[Any] = []
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key!r} is there twice", key_node.start_mark
                )
            seen.append(key)
        return super().construct_mapping(node, deep)


def read_study(path: Path) -> Study:
    """Returns the study in a file; ConfigError where it cannot be read, or is none."""
    values = read_yaml(path, _Loader, holds="a study", usual=STUDY)
    return parse_study(values, str(path), path.parent)


def save_study(study: Study, path: Path) -> None:
    """Writes the study so that its file gives the same one, whatever flags there were."""
    text = yaml.safe_dump(to_mapping(study), sort_keys=False, allow_unicode=True)
    with atomic_write(path) as file:
        file.write(text.encode())
