"""Where things are; everything that is made goes below build/."""

import os
import pathlib

PEERS = pathlib.Path(__file__).resolve().parents[1]
ROOT = PEERS.parents[1]
ENVIRONMENT = ROOT / "build" / "peers-venv"
MODELS = ROOT / "build" / "peers-models"
WORKER = PEERS / "harness" / "worker.py"
EMBER_WORKER = ROOT / "build" / "release" / "bin" / "bench_peers"


def zoo():
    """The folder of real networks: EMBER_ZOO, or shared/zoo beside the repository or its parent. None: absent."""
    named = os.environ.get("EMBER_ZOO")
    folders = [pathlib.Path(named)] if named else [ROOT.parent / "shared" / "zoo", ROOT.parents[1] / "shared" / "zoo"]
    return next((folder for folder in folders if (folder / "index.json").is_file()), None)
