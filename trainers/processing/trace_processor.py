"""Messages of the trace topic in, messages of the pairs topic out: bytes on both sides.

The worker, the offline replay and the tests call this; it knows nothing of Kafka clients, clocks or files.
"""

from __future__ import annotations

from collections.abc import Iterable

from streams.messages.codec import decode_trace, encode, encode_formed
from streams.messages.contracts import RunClosed, RunEnd, RunRevision, TraceMessage
from streams.messages.stored import Outgoing, StoredMessage, number_headers
from streams.worker.stages import TraceStep
from trainers.pairs.former import (
    MOST_WAITING_BYTES,
    NAMED_BYTES,
    WAITING_BYTES,
    Formed,
    NotUsable,
    PairFormer,
    in_words,
)
from trainers.pairs.pairing import PairingRules
from trainers.processing.unusable import NO_FAULT_OF_A_MESSAGE, letter_for


class TraceProcessor:
    """Turns values of the trace topic into messages of the pairs topic, keyed by the reward model's name.

    ``partitions`` is the number of partitions of the trace topic. If it is set, an event in another partition
    than its run's is forwarded there, so that one former sees the whole run. (Such an event was written
    before partitions were added, or by a client with another partitioner.) A reader of all partitions needs
    no forwarding and leaves it None.

    ``most_waiting_bytes`` limits what waits for an earlier iteration of its run. An event above the limit
    becomes a dead letter at once, as if it had not come; it comes when the letter is replayed. None means no
    limit, for reading a topic to its end.
    """

    def __init__(
        self,
        rules: PairingRules,
        *,
        trace_topic: str,
        pairs_topic: str,
        dead_letters_topic: str,
        closed_runs_topic: str = "",
        most_waiting_bytes: int | None = MOST_WAITING_BYTES,
    ) -> None:
        self._former = PairFormer(rules)
        self._rules = rules.as_text.encode()
        self._trace_topic = trace_topic
        self._pairs_topic = pairs_topic
        self._dead_letters_topic = dead_letters_topic
        self._closed_runs_topic = closed_runs_topic
        self._most_waiting_bytes = most_waiting_bytes
        self._without_beginning: dict[RunRevision, dict[bytes, StoredMessage]] = {}
        """All messages, by value, of each run whose beginning is missing, so that repetitions count once;
        they may have to become dead letters."""
        self._waiting_of: dict[RunRevision, int] = {}
        """Run to the bytes of its events that wait."""
        self._waiting_bytes = 0
        self.partitions: int | None = None
        self.pairs_formed = 0
        """Number of pairs formed since the start."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes of events that wait for an earlier iteration of their run."""
        return self._waiting_bytes

    def on_message(self, message: StoredMessage, event: TraceMessage | None = None) -> TraceStep:
        """The pairs that this event completes, or a dead letter, or the event for its own partition.

        ``event`` is the decoded message, if the caller has it. A message that raises becomes a dead letter,
        and changes nothing else.
        """
        try:
            event = event or decode_trace(message.value, message)
            run = event.run
            home = self._home(event.run_id)
            if home not in (None, message.partition):
                return TraceStep(outgoing=[self._to_run(event.run_id, message.value, home)])
            self._check_room(message, event)
            formed = self._former.on_event(event, message.value)
            step = self._step(run, formed)
        except NO_FAULT_OF_A_MESSAGE:
            raise
        except Exception as error:
            return TraceStep(outgoing=[letter_for(message, error, self._dead_letters_topic)])
        if step.run is None or step.closed or self._former.has_begun(run):
            self._without_beginning.pop(run, None)
            self._note_waiting(run, self._former.waiting_bytes(run))
        else:
            kept = self._without_beginning.setdefault(run, {})
            if message.value not in kept:
                kept[message.value] = message
                self._note_waiting(run, self._waiting_of.get(run, 0) + _size(message, event))
        return step

    def on_tick(self, elapsed_s: float, timeout_s: float) -> tuple[list[Outgoing], list[TraceStep]]:
        """End runs that were silent for ``timeout_s`` seconds; ``elapsed_s`` passed with nothing left unread.

        A run with its beginning is ended by an event on its topic, so that a replay ends it there too. A run
        without it cannot be used: its messages become dead letters.
        """
        ends, given_up = self._former.on_tick(elapsed_s, timeout_s)
        steps = []
        for run in given_up:
            reason = f"the beginning of {in_words(run)} did not come within {timeout_s:g} s"
            messages = self._without_beginning.pop(run, {})
            self._note_waiting(run, 0)
            letters = [letter_for(m, NotUsable(reason), self._dead_letters_topic) for m in messages.values()]
            steps.append(TraceStep(run, letters, given_up=True))
        return [self._to_run(end.run_id, encode(end), self._home(end.run_id)) for end in ends], steps

    def recall(self, closed: Iterable[RunClosed]) -> None:
        """Remember runs that were closed before the first message is read."""
        self._former.recall(closed)

    def forget(self) -> None:
        """The partitions were revoked: their next owner reads the open runs again."""
        self._former.forget()
        self._without_beginning.clear()
        self._waiting_of.clear()
        self._waiting_bytes = 0
        self.partitions = None

    def _step(self, run: RunRevision, formed: Formed) -> TraceStep:
        if not self._former.is_open(run) and formed.closed is None:
            return TraceStep()  # a repetition from a closed run
        self.pairs_formed += len(formed.pairs)
        outgoing = [
            Outgoing(
                self._pairs_topic, pair.model.encode(), encode_formed(pair), number_headers(nth, self._rules)
            )
            for nth, pair in enumerate(formed.pairs, start=formed.first)
        ]
        if formed.end is not None:
            end = formed.end
            outgoing.append(
                Outgoing(
                    self._pairs_topic,
                    end.model.encode(),
                    encode_formed(end),
                    number_headers(end.n_pairs, self._rules),
                )
            )
        mark = formed.closed
        if mark is None:
            return TraceStep(run, outgoing)
        run_id, revision = run
        key = f"{mark.model}/{run_id}/{revision}" if revision else f"{mark.model}/{run_id}"
        return TraceStep(run, outgoing, Outgoing(self._closed_runs_topic, key.encode(), encode_formed(mark)))

    def _check_room(self, message: StoredMessage, event: TraceMessage) -> None:
        most = self._most_waiting_bytes
        if most is None or not self._former.would_wait(event):
            return
        if message.value in self._without_beginning.get(event.run, ()):
            return
        if self._waiting_bytes + _size(message, event) > most:
            raise NotUsable(
                f"{message.source}: {in_words(event.run)} lacks an earlier iteration, and the {most} bytes "
                "for what waits so are full"
            )

    def _note_waiting(self, run: RunRevision, now: int) -> None:
        self._waiting_bytes += now - self._waiting_of.pop(run, 0)
        if now:
            self._waiting_of[run] = now

    def _home(self, run_id: str) -> int | None:
        if not self.partitions:
            return None
        # Imported late: a replay of files needs no Kafka client.
        from streams.kafka.partitions import partition_of

        return partition_of(run_id.encode(), self.partitions)

    def _to_run(self, run_id: str, value: bytes, home: int | None) -> Outgoing:
        return Outgoing(self._trace_topic, run_id.encode(), value, partition=home)


def _size(message: StoredMessage, event: TraceMessage) -> int:
    named = len(event.iterations) if isinstance(event, RunEnd) else 0
    return len(message.value) + len(message.key or b"") + WAITING_BYTES + NAMED_BYTES * named
