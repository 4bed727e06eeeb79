"""The program, built for release, for other scripts.

usage: python3 scripts/program.py [FEATURES]
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def target() -> Path:
    """Where cargo leaves what it builds, which the environment and its configuration may change."""
    command = ["cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"]
    told = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)
    return Path(json.loads(told.stdout)["target_directory"])


def release(features: str = "") -> str:
    """Builds the program and says where it is."""
    command = ["cargo", "build", "--locked", "--release", "--features", features]
    subprocess.run(command, cwd=ROOT, check=True)
    return str(target() / "release/gennape")


if __name__ == "__main__":
    print(release(*sys.argv[1:2]))
