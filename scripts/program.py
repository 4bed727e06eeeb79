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
    """Builds the program and says where it is, which is elsewhere for another platform."""
    command = ["cargo", "build", "--locked", "--release", "--bin", "gennape", "--features", features]
    command += ["--message-format", "json-render-diagnostics"]
    told = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    programs = (json.loads(line).get("executable") for line in told.splitlines())
    return next(program for program in programs if program)


if __name__ == "__main__":
    print(release(*sys.argv[1:2]))
