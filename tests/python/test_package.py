"""The package itself: stubs, documentation, the program in it."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import gennape
import pytest


def test_stubs_say_what_the_module_is():
    pytest.importorskip("mypy")
    package = Path(gennape.__file__).parent
    assert (package / "py.typed").exists()
    command = [sys.executable, "-m", "mypy.stubtest", "gennape", "--ignore-missing-stub"]
    outcome = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_everything_public_is_documented():
    for name in gennape.__all__:
        thing = getattr(gennape, name)
        assert name == "__version__" or thing.__doc__, name
        members = [] if not isinstance(thing, type) else vars(thing).items()
        for member, value in members:
            assert member.startswith("_") or value.__doc__ or isinstance(value, str), (name, member)
    assert doctest.testmod(gennape).failed == 0


def test_the_program_is_in_the_package():
    program = Path(sys.executable).parent / "gennape"
    command = [program] if program.exists() else [sys.executable, "-m", "gennape"]
    outcome = subprocess.run([*command, "--version"], capture_output=True, text=True)
    # Built for release from a checkout, it names the commit as well.
    version = re.fullmatch(r"gennape (\S+)( \(\S+ \S+\))?\n", outcome.stdout)
    assert version and version[1] == gennape.__version__, outcome
    wrong = subprocess.run([*command, "predict", "missing.onnx"], capture_output=True, text=True)
    assert wrong.returncode == 1 and wrong.stderr.startswith("error: missing.onnx")
