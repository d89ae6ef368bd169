"""Times of runs that have not been made, measured in a process of its own, which holds the GPU for
that long and no longer: `python -m gs_densify.bench.measure`, called by `estimate`.
"""

import json
import pickle
import sys

from gs_densify.errors import GsDensifyError


def main() -> None:
    """Reads pickled configurations, and prints as JSON for each its seconds, null without a limit
    of Gaussians, or a text that says why it cannot be made.
    """
    from gs_densify.runs.forecast import Forecaster

    forecaster = Forecaster()
    found: list[float | str | None] = []
    for config in pickle.load(sys.stdin.buffer):
        try:
            found.append(forecaster.forecast(config).seconds)
        except GsDensifyError as error:
            found.append(str(error))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
