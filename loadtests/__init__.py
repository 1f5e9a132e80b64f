"""Load tests for any OpenWhisk API host: `locust -f loadtests --host http://...`.

Locust imports each file of this folder as a top-level module, so they import each other
as such. To use a scenario from a locustfile of your own, import it from the package;
its folder joins the path here, so that both ways meet the same modules:

    from loadtests.latency import LatencyUser
"""

import sys
from pathlib import Path

_FOLDER = str(Path(__file__).parent)
if _FOLDER not in sys.path:
    sys.path.append(_FOLDER)
