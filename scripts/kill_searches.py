#!/usr/bin/env python3
"""Kills searches at random moments and checks that nothing is lost.

    kill_searches.py [--gennape PATH] [--kills N] [--seed N] [--budget N] [--full]

For each algorithm one search runs undisturbed. Then the same search runs again and again: it is
killed (SIGKILL) after a random time and gone on with, until it ends by itself. With --full every
second process is not killed but meets a full disk: the system lets it write so many bytes to a file
and no more. In the end front.json, history.csv and the networks of the front must be byte for byte
those of the undisturbed search, and nothing else may be left in the folder. N kills are shared out
among the algorithms.

Prints a line for each algorithm: processes killed, those of them that had no search.json yet,
searches brought to their end.
"""
import argparse
import json
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MADE = ["front", "front.json", "history.csv", "report.html", "search.json"]


def content(folder):
    """What must be the same, by file."""
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in files.items() if name.name != "report.html"}


def limited(size):
    """Makes a process fail to write more than `size` bytes to a file."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


class Search:
    def __init__(self, arguments, algorithm):
        self.gennape = arguments.gennape
        self.arguments = ["--space", "nasbench_macro", "--algorithm", algorithm, "--objective", "macs"]
        self.arguments += ["--objective", "depth:max", "--constraint", "parameters<=1.6M"]
        self.arguments += ["--budget", str(arguments.budget)]

    def start(self, folder, **options):
        begun = (folder / "search.json").exists()
        how = ["--resume", folder] if begun else [*self.arguments, "-o", folder]
        return subprocess.Popen(
            [self.gennape, "search", *how], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **options
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gennape", default="target/release/gennape")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=60)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    base = pathlib.Path(tempfile.mkdtemp(prefix="kill-searches-"))
    lost = 0
    schema = json.loads(subprocess.check_output([arguments.gennape, "schema", "search"]))
    algorithms = [name["const"] for name in schema["$defs"]["AlgorithmName"]["oneOf"]]
    for i, algorithm in enumerate(algorithms):
        search = Search(arguments, algorithm)
        whole, part = base / f"{algorithm}-whole", base / f"{algorithm}-part"
        began = time.monotonic()
        process = search.start(whole)
        _, told = process.communicate()
        assert process.returncode == 0, told.decode()
        longest = time.monotonic() - began
        expected = content(whole)
        largest = max(map(len, expected.values()))
        wanted = arguments.kills * (i + 1) // len(algorithms) - arguments.kills * i // len(algorithms)
        kills, early, full, ends = 0, 0, 0, 0
        # The last one may end by itself.
        while kills < wanted or part.exists():
            if kills < wanted and arguments.full and chance.random() < 0.5:
                process = search.start(part, preexec_fn=limited(int(largest ** chance.random())))
                _, told = process.communicate()
                full += process.returncode == 1
                assert process.returncode in (0, 1), told.decode()
                assert process.returncode == 0 or b"File too large" in told or b"exists" in told, told.decode()
            else:
                process = search.start(part)
                try:
                    # At times only just after the start, and rarely long after the expected end.
                    scale = chance.choice([0.2, 1.0, 1.0, 1.2]) if kills < wanted else 1000
                    _, told = process.communicate(timeout=longest * scale * chance.random())
                    assert process.returncode == 0, told.decode()
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.communicate()
                    kills += 1
                    early += not (part / "search.json").exists()
                    continue
            if process.returncode:
                continue
            ends += 1
            if content(part) != expected or sorted(path.name for path in part.iterdir()) != MADE:
                lost += 1
                print(f"{algorithm}: {part} is not {whole}", file=sys.stderr)
                part.rename(part.with_name(f"{part.name}-{lost}"))
            else:
                shutil.rmtree(part)
        print(f"{algorithm}: {kills} killed, {early} before search.json, {full} met a full disk, {ends} ended")
    if lost:
        sys.exit(f"{lost} searches lost something; see {base}")
    shutil.rmtree(base)


if __name__ == "__main__":
    main()
