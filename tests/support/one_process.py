"""Many ``fedaffect`` commands in one process that starts Ray once: a line of JSON in for each, and one out.

In comes a list of arguments, out goes ``{"code": exit status, "said": what was printed}``.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout

from fedaffect.edge.cli.main import main
from fedaffect.server.ray_session import ray_session


def serve() -> None:
    """Run commands until the input ends."""
    with ray_session(cores=2):
        for line in sys.stdin:
            sys.argv = ["fedaffect", *json.loads(line)]
            said, code = io.StringIO(), 0
            with redirect_stdout(said), redirect_stderr(said):
                try:
                    main()
                except SystemExit as left:
                    code = int(left.code or 0)
            print(json.dumps({"code": code, "said": said.getvalue()}), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    serve()
