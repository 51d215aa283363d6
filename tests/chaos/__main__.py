"""`python -m tests.chaos`: a run of any length, whose history and final state stay in a folder."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import run_embedded
from tests.chaos.load import LoadSettings
from tests.chaos.rig import backends, two_nodes
from tests.chaos.run import RunSettings


def main() -> int:
    """Run once, and say what has come of it; 0 if it is good."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long there is load")
    parser.add_argument("--seed", type=int, default=None, help="repeats the sequences of clients and faults")
    parser.add_argument("--clients", type=int, default=LoadSettings._field_defaults["clients"])
    parser.add_argument(
        "--requests-per-second", type=float, default=LoadSettings._field_defaults["requests_per_second"]
    )
    parser.add_argument("--folder", type=Path, default=None, help="where the history goes; a new folder")
    arguments = parser.parse_args()
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="tallystick-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.write(f"seed {seed}, {arguments.seconds:.0f} s, in {folder}\n")
    load = LoadSettings(seed, arguments.seconds, arguments.clients, arguments.requests_per_second)
    with (
        tempfile.TemporaryDirectory(prefix="tallystick-chaos-servers-") as servers,
        two_nodes() as nodes,
        backends(Path(servers), nodes) as started,
    ):
        verdict = asyncio.run(run_embedded(folder, started, RunSettings(load)))
    sys.stdout.write(f"{verdict.text()}\nseed {seed}, in {folder}\n")
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
