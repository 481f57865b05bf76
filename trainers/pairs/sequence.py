"""Tracks the pairs that a model has taken; from each run it takes only the next one.

A former numbers the pairs of a run from 0 (header ``nth``), and forming the run again gives the same numbers.
So one integer per open run recognises repeated deliveries, however often they come and however many runs are
open. A number that is too high is skipped as well: an earlier pair was not sent, so its former cannot have
closed the run, and all of it comes again (go-back-N, like a TCP receiver).

A vote counts as a run of its own with a single pair, and so does the withdrawal of a vote.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from streams.messages.contracts import PairMessage, PreferencePair, Rollback, RunRevision
from streams.messages.stored import StoredMessage
from trainers.pairs.withdrawn import is_withdrawal

log = logging.getLogger(__name__)

REMEMBERED_RUNS = 100_000
"""Limit of open runs, and of closed runs that are recognised when they come again. A run comes again if its
former was killed between the run's end and the mark that closes it; fewer runs than this end before
another former takes over. Beyond the limit, the open runs that were inactive for longest count as closed."""
_REMEMBERED_GAPS = 10_000
_SAID_BYTES = 64
"""Characters of rules shown in the log."""


class RunSequence:
    """The next number of each open run, and which runs are closed; each revision counts as a run.

    A 64-bit hash stands for a run, and for the rules by which its pairs were formed.
    """

    def __init__(self, remembered: int = REMEMBERED_RUNS) -> None:
        self._remembered = remembered
        self.given_up = 0
        """Open runs that count as closed because there were too many."""
        self._next: dict[int, int] = {}
        """Run, as a hash, to its next number; the run from which the last pair was taken comes last."""
        self._rules: dict[int, int] = {}
        """The rules by which the taken pairs of each open run were formed."""
        self._other_rules: set[int] = set()
        """Open runs that are now formed by other rules."""
        self._gaps: set[int] = set()
        """Runs with a number that was too high; logged once, or again after very many others."""
        self._closed: set[int] = set()
        self._in_order: deque[int] = deque()
        """Closed runs, oldest first; an ordered dict would take three times the memory."""

    def takes_message(self, stored: StoredMessage, message: PairMessage) -> bool:
        """Whether a message is new by its headers, or has none that could tell."""
        if (vote := stored.vote) is not None:
            return self.takes_vote(vote, withdrawn=is_withdrawal(message))
        number = stored.number
        return number is None or self.takes(message, number, stored.rules if number == 0 else b"")

    def takes(self, message: PairMessage, nth: int, rules: bytes = b"") -> bool:
        """Whether the numbered message is the next of its run; if so, it is taken.

        ``rules`` are those of its former, and count with the number 0. If the former restarts with other
        rules while a run is open, its numbers stand for other pairs. Then nothing more is taken from that run
        but its end.
        """
        if isinstance(message, Rollback):
            return True
        run = _hash(message.run)
        if run in self._closed:
            return False
        following = self._next.get(run, 0)
        if nth == 0:
            self._compare_rules(run, message.run_id, rules, begun=following > 0)
        if run in self._other_rules:
            if isinstance(message, PreferencePair):
                return False
        elif nth != following:
            if nth > following and run not in self._gaps:
                if len(self._gaps) >= _REMEMBERED_GAPS:
                    self._gaps.clear()
                self._gaps.add(run)
                log.warning(
                    "pair %d of run %r came before pair %d, which was not sent; it will come again",
                    nth, message.run_id, following,
                )  # fmt: skip
            return False
        self._gaps.discard(run)
        self._next.pop(run, None)
        if isinstance(message, PreferencePair):
            self._next[run] = nth + 1
            if len(self._next) > self._remembered:
                self._give_up_oldest()
        else:
            self._close(run)
        return True

    def takes_vote(self, vote_id: bytes, *, withdrawn: bool) -> bool:
        """Whether the pair of a vote, or its withdrawal, is new; if so, it is taken.

        A pair that comes after its own withdrawal, from a worker that stalled in between, is not new.
        """
        vote = _hash_of(b"vote\0" + vote_id)
        mine = _hash_of(b"withdrawn\0" + vote_id) if withdrawn else vote
        if mine in self._closed:
            return False
        self._close(mine)
        if vote not in self._closed:
            self._close(vote)
        return True

    def state(self) -> dict[str, Any]:
        """The whole state, as JSON values."""
        return {
            "next": {str(run): nth for run, nth in self._next.items()},
            "rules": {str(run): rules for run, rules in self._rules.items()},
            "given_up": self.given_up,
            "other_rules": sorted(self._other_rules),
            "closed": list(self._in_order),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], remembered: int = REMEMBERED_RUNS) -> RunSequence:
        """The sequence with this state."""
        sequence = cls(remembered)
        sequence._next = {int(run): nth for run, nth in state["next"].items()}
        sequence._rules = {int(run): rules for run, rules in state["rules"].items()}
        sequence.given_up = int(state["given_up"])
        sequence._other_rules = set(state["other_rules"])
        sequence._in_order.extend(state["closed"])
        sequence._closed.update(state["closed"])
        return sequence

    def _give_up_oldest(self) -> None:
        """Gives up the oldest runs: forgetting their position would make them be learnt again when they come
        again. It drops a hundredth at a time, because finding the oldest takes a while."""
        if not self.given_up:
            log.warning(
                "more than %d runs are open: nothing more is learnt from the oldest", self._remembered
            )
        too_many = len(self._next) - self._remembered + self._remembered // 100
        for run in list(islice(self._next, too_many)):
            self.given_up += 1
            self._close(run)

    def _close(self, run: int) -> None:
        self._next.pop(run, None)
        self._rules.pop(run, None)
        self._other_rules.discard(run)
        self._closed.add(run)
        self._in_order.append(run)
        if len(self._in_order) > self._remembered:
            self._closed.discard(self._in_order.popleft())

    def _compare_rules(self, run: int, run_id: str, rules: bytes, *, begun: bool) -> None:
        hashed = _hash_of(rules)
        if not begun or self._rules.get(run) == hashed:
            self._rules[run] = hashed
            self._other_rules.discard(run)
        elif run not in self._other_rules:
            self._other_rules.add(run)
            log.warning(
                "run %r was begun with pairs formed by other rules than %r, by which it is formed again: its "
                "later pairs are skipped",
                run_id, rules[:_SAID_BYTES].decode(errors="replace"),
            )  # fmt: skip


@lru_cache(maxsize=4096)  # pairs of a run come together
def _hash(run: RunRevision) -> int:
    run_id, revision = run
    return _hash_of(run_id.encode(), salt=revision.to_bytes(8) if revision else b"")


def _hash_of(name: bytes, salt: bytes = b"") -> int:
    return int.from_bytes(hashlib.blake2b(name, digest_size=8, salt=salt).digest())
