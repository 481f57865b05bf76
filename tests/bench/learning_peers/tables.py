"""The tables of ``trainers/PEERS.md``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.bench.learning_peers import ENTRIES, KINDS, OWN
from tests.bench.learning_peers.judge import AFTER, BEST, DEFAULT, Judged, best_of, shown

Judgements = Mapping[tuple[str, str], Sequence[Judged]]
"""(set, kind of features) to all that was measured there."""


def uncertainty(ratios: Mapping[tuple[str, str, str], Mapping[str, float]]) -> Iterator[str]:
    """(name, set, kind) to how it is stated to the ratio."""
    for kind in KINDS:
        sets = list(dict.fromkeys(of_set for _, of_set, of_kind in ratios if of_kind == kind))
        if not sets:
            continue
        yield f"**{kind[0].upper()}{kind[1:]}**"
        yield ""
        yield f"| learner | as stated by | {' | '.join(sets)} |"
        yield f"|---|---|{'---|' * len(sets)}"
        for name in ENTRIES:
            found = {of_set: ratios.get((name, of_set, kind), {}) for of_set in sets}
            for how in dict.fromkeys(how for of in found.values() for how in of):
                cells = (f"{found[one][how]:.2f}" if how in found[one] else "" for one in sets)
                yield f"| {_named(name)} | {how} | {' | '.join(cells)} |"
        yield ""


def summary(found: Judgements) -> Iterator[str]:
    """The best of all peers and settings beside TriBrain's default learner."""
    yield "| features | set | best after 100 | | laplace | best after all | | laplace | difference |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for kind in KINDS:
        for (of_set, of_kind), rows in found.items():
            peers = [row for row in rows if row.name not in OWN]
            if of_kind != kind or not peers:
                continue
            own = next(row for row in rows if row.name == "laplace")
            early, late = best_of(peers, "100"), best_of(peers, "all")
            yield (
                f"| {kind} | {of_set} | {early.name}, {early.setting} | {early.log_loss['100']:.4f} "
                f"| {own.log_loss['100']:.4f} | {late.name}, {late.setting} | {late.log_loss['all']:.4f} "
                f"| {own.log_loss['all']:.4f} | {own.log_loss['all'] - late.log_loss['all']:+.4f} |"
            )


def one_cell(rows: Sequence[Judged]) -> Iterator[str]:
    """Every learner on one set and kind of features."""
    yield f"| learner | setting | {' | '.join(f'after {after}' for after in AFTER)} | ECE |"
    yield f"|---|---|{'---|' * len(AFTER)}---|"
    for row in rows:
        losses = " | ".join(f"{row.log_loss[after]:.4f}" for after in AFTER)
        yield f"| {_named(row.name)} | {_setting(row)} | {losses} | {row.ece:.3f} |"


def speed(rates: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Name to ``rows`` and ``dicts`` in pairs/s, and ``mib``."""
    yield "| learner | pairs/s of CPU, rows | of dicts | memory that learning adds, MiB |"
    yield "|---|---|---|---|"
    for name, of in rates.items():
        dicts = f"{of['dicts']:,.0f}" if "dicts" in of else ""
        added = f"{of['mib']:,.1f}" if "mib" in of else ""
        yield f"| {_named(name)} | {of['rows']:,.0f} | {dicts} | {added} |"


def _setting(row: Judged) -> str:
    if row.setting == DEFAULT:
        return DEFAULT
    others = f" (in some splits another of {len(row.chosen)})" if len(row.chosen) > 1 else ""
    return f"{BEST}: {shown(row.chosen[0])}{others}"


def _named(name: str) -> str:
    return f"**{name}**" if name in OWN else name
