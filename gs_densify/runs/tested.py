"""Which releases of torch this version was tested with: the range that its package requires."""

from importlib import metadata

from packaging.requirements import Requirement

_PACKAGE = "gs-densify"


def untested(name: str, version: str) -> str | None:
    """Returns what to say of a requirement's version outside the tested range, None inside it.

    None, too, where the package is not installed, so that nothing says what the range is.
    """
    try:
        requirements = map(Requirement, metadata.requires(_PACKAGE) or ())
    except metadata.PackageNotFoundError:
        return None
    ranges = [one.specifier for one in requirements if one.name == name and one.marker is None]
    if all(tested.contains(version, prereleases=True) for tested in ranges):
        return None
    return (
        f"{name} {version} is not among the tested releases ({ranges[0]}); where something fails,"
        f" install one of those: pip install '{name}{ranges[0]}'"
    )
