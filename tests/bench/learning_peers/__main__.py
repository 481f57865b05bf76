"""TriBrain's learners beside other libraries: ``python -m tests.bench.learning_peers`` writes the tables.

Needs ``TRIBRAIN_DATA``, as ``tests.bench.learning`` does. Peers that are not installed are said and left out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from streams.files import write_atomically
from tests.bench import learning
from tests.bench.learning_peers import CRITICS, ENTRIES, KINDS, OWN, PEERS, WHO, installed_in, tables
from tests.bench.learning_peers.cells import cells, speed_cell
from tests.bench.learning_peers.judge import Judged, judged
from tests.bench.learning_peers.pairs import Cell
from tests.bench.learning_peers.programs import Job, Programs, arrays_of, numbers_of

OUT = Path(__file__).parents[3] / "trainers" / "PEERS.md"
_STATE_UNCERTAINTY = {
    CRITICS: ("laplace", "statsmodels"),
    WHO: ("laplace", "arena-rank", "choix-ep", "trueskill"),
}
_ABOUT = """\
# TriBrain's learners beside other libraries

Written by `make results`; every figure is what that command printed. Log loss is in nats, on tasks kept
apart, of the same four splits for all; after 25, 50 and 100 pairs of any task a mean over up to eight draws,
after all pairs over up to eight orders of the tasks. Every pair that is learnt has its sides in random
order, and those kept apart are judged both ways round, so that no intercept gains by chance. Each peer
learns at its defaults, and in the setting that cross-validation by task chose on the training part;
TriBrain's learners at their defaults alone, which were chosen on these sets. All see the same rows, in the
units that TriBrain weighs.
"""
_ABOUT_SPEED = """\
20,000 drawn pairs with twelve critics of sixteen makers, on one core. Memory is what learning the rows takes
at its peak beyond what the program had before: the rows as the learner reads them, and the learner. The
drawn pairs, which take 2.5 MiB, are there before, and memory that was freed before is used again.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--peers-python", type=Path, default=Path(".venv-learning-peers/bin/python"))
    parser.add_argument(
        "--keep", type=Path, help="folder for the files, so that a run that was broken off goes on from there"
    )
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    if "TRIBRAIN_DATA" not in os.environ:
        console.print("TRIBRAIN_DATA is not set: without human preferences there is nothing to compare")
        return
    present = installed_in(options.peers_python, tuple(PEERS))
    for name in PEERS:
        if name not in present:
            console.print(f"{name}: {PEERS[name].package} is not in {options.peers_python}, left out")
    data = Path(os.environ["TRIBRAIN_DATA"]) / "preferences"
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(data, folder, Programs(options.peers_python), (*OWN, *present), console)
        lines = [_ABOUT, *run.report()]
    write_atomically(OUT, "\n".join(lines).rstrip().encode() + b"\n")
    console.print(f"written to {OUT.name}")


class Run:
    """One whole measurement, with its files in ``folder``."""

    def __init__(
        self, data: Path, folder: Path, programs: Programs, names: Sequence[str], console: Console
    ) -> None:
        self._data, self._folder, self._programs, self._names = data, folder, programs, names
        self._console = console
        self._splits: dict[tuple[str, str], list[Path]] = {}
        """(set, kind) to the cell of every split."""
        self._whole: dict[tuple[str, str], Path] = {}
        """(set, kind) to a cell that is all pairs."""

    def report(self) -> Iterator[str]:
        """Lines of Markdown."""
        self._write_cells()
        yield "## Stated SD over the SD when the tasks are drawn again"
        yield "\n1 is honest, less is too sure. The median over what is learnt.\n"
        yield from tables.uncertainty(self._ratios())
        found = self._judgements()
        yield "## The best peer beside laplace\n"
        yield from tables.summary(found)
        for kind in KINDS:
            for (of_set, of_kind), rows in found.items():
                if of_kind == kind:
                    yield f"\n## {of_set}: {kind}\n"
                    yield from tables.one_cell(rows)
        yield "\n## Speed and memory\n"
        yield _ABOUT_SPEED
        yield from tables.speed(self._speeds())

    def _write_cells(self) -> None:
        for of_set in learning.SETS:
            pairs = [pair for pair in learning.with_contexts(self._data, of_set) if not pair.tie]
            for seed in range(learning.SPLITS):
                for kind, cell in cells(*learning.split(pairs, seed)):
                    self._splits.setdefault((of_set, kind), []).append(
                        self._saved(f"{of_set}-{KINDS.index(kind)}-{seed}", cell)
                    )
            for kind, cell in cells(pairs, pairs[:1]):
                self._whole[of_set, kind] = self._saved(f"{of_set}-{KINDS.index(kind)}", cell)

    def _saved(self, name: str, cell: Cell) -> Path:
        path = self._folder / f"{name}.npz"
        cell.save(path)
        return path

    def _ratios(self) -> dict[tuple[str, str, str], dict[str, float]]:
        wanted = {
            (name, of_set, kind): (path, self._folder / f"{path.stem}-{name}.json")
            for (of_set, kind), path in self._whole.items()
            for name in _STATE_UNCERTAINTY.get(kind, ())
            if name in self._names
        }
        jobs = [Job(key[0], "uncertainty", [source], [target]) for key, (source, target) in wanted.items()]
        self._programs.run(jobs, self._said)
        return {key: numbers_of(target) for key, (_, target) in wanted.items()}

    def _judgements(self) -> dict[tuple[str, str], list[Judged]]:
        targets = {
            (name, key): [self._folder / f"{path.stem}-{name}.npz" for path in paths]
            for key, paths in self._splits.items()
            for name in self._names
            if key[1] in ENTRIES[name].kinds
        }
        self._programs.run(
            [Job(name, "predict", self._splits[key], files) for (name, key), files in targets.items()],
            self._said,
        )
        found: dict[tuple[str, str], list[Judged]] = {}
        for (name, key), files in targets.items():
            wins = [Cell.load(path).holdout.wins for path in self._splits[key]]
            found.setdefault(key, []).extend(
                judged(name, list(zip(map(arrays_of, files), wins, strict=True)))
            )
        return found

    def _speeds(self) -> dict[str, dict[str, float]]:
        source = self._saved("speed", speed_cell())
        targets = {name: self._folder / f"speed-{name}.json" for name in self._names}
        jobs = [Job(name, "speed", [source], [target]) for name, target in targets.items()]
        replace(self._programs, at_once=1).run(jobs, self._said)
        return {name: numbers_of(target) for name, target in targets.items()}

    def _said(self, job: Job) -> None:
        self._console.print(f"{job.name}: {job.task} {job.sources[0].stem}")


if __name__ == "__main__":
    main()
