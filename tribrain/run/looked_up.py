"""Looks up on Kafka whether a run that is about to make its next video has ended, or is another's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import click

from runner.loop.resume import END_IS_TOLD, CannotContinue
from streams.errors import BadInput
from streams.kafka.settings import Settings
from streams.messages.contracts import RunEnd, TraceEvent, TraceMessage

_TIMEOUT_S = 10.0


def look_on_kafka(
    settings: Settings | None, run_id: str, *, is_named: bool = False
) -> Callable[[Sequence[TraceEvent]], Collection[int]]:
    """The ``look`` of ``run_or_resume``, at the broker of these settings, if there is one.

    ``is_named`` means that the user chose the id, which another run may have, too.
    """
    return _nowhere if settings is None else _Look(settings, run_id, is_named)


def _nowhere(_: Sequence[TraceEvent]) -> Collection[int]:
    return ()


@dataclass(frozen=True, slots=True)
class _Look:
    settings: Settings
    run_id: str
    is_named: bool

    def __call__(self, recorded: Sequence[TraceEvent]) -> Collection[int]:
        """The iterations of the run that are on Kafka.

        Where they cannot be looked up, a line on standard error says so, and the run goes on. Raises
        CannotContinue if the run's end is there, and BadInput if another run with this id is.
        """
        if not recorded and not self.is_named:
            return ()
        # Not at the top: Kafka's client takes a third of a second.
        from streams.kafka.run_messages import read_run

        try:
            found = read_run(self.settings, self.run_id, timeout_s=_TIMEOUT_S)
        except BadInput as error:
            verb = "goes on" if recorded else "begins"
            what = "its end" if recorded else "another run of this name"
            click.echo(
                f"{self.run_id}: {verb}, though it could not be seen whether Kafka has {what}: {error}",
                err=True,
            )
            return ()
        self._require_own(recorded, found)
        if any(isinstance(message, RunEnd) for message in found):
            raise CannotContinue(END_IS_TOLD)
        return {message.iter_idx for message in found if isinstance(message, TraceEvent)}

    def _require_own(self, recorded: Sequence[TraceEvent], found: Sequence[TraceMessage]) -> None:
        own = {event.iter_idx: _what_it_is_made_of(event) for event in recorded}
        for message in found:
            if not isinstance(message, TraceEvent):
                continue
            is_own = own.get(message.iter_idx) == _what_it_is_made_of(message)
            if not is_own and (message.iter_idx in own or not own):
                raise BadInput(
                    f"{self.run_id}: Kafka has another run of this name, for whose its events would be "
                    "taken; begin anew with --fresh and another --run-id (a suite: with another --out and "
                    "--suite-id)"
                )


def _what_it_is_made_of(event: TraceEvent) -> tuple[object, ...]:
    return event.goal_instruction, event.prompt, event.meta.get("seed"), event.meta.get("generation_seed")
