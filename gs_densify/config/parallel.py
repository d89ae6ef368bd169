"""What the processes of a run share out, as --parallel says."""

from gs_densify.config.options import TrainConfig
from gs_densify.distributed.group import ALONE, Group


def sharers(config: TrainConfig, group: Group) -> Group:
    """Returns the processes of `group` as those that have a share of the Gaussians each.

    Where each has all of them, a process shares them with no other: it is alone.
    """
    return group if config.parallel == "gaussians" else ALONE


def replicas(config: TrainConfig, group: Group) -> Group:
    """Returns the processes of `group` as those that have all Gaussians each; alone where none
    has.
    """
    return group if config.parallel == "views" else ALONE
