"""What travels on the topics: frozen structs, one per message, and nothing else.

A line of ``trace.jsonl`` is the value of a message on the trace topic, a line of ``pairs.jsonl`` is the
value of one on the pairs topic, and ``bt_reward.json`` is the value of one on the snapshots topic.
Every message names its schema and major version (``tribrain.trace/1``); fields that this version does
not know are kept in ``extras`` and written back. ``msgspec.structs.replace``
gives a changed copy.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType, field

from streams.messages.fields import (
    Context,
    Contract,
    Count,
    Id,
    Iteration,
    Iterations,
    Name,
    Number,
    RunId,
    ScoreRange,
    Scores,
    UnitScore,
)
from streams.messages.limits import MAX_DIMENSIONS, MAX_NUMBER, MAX_SCORES, MAX_TIE_NU, MAX_WEIGHT
from streams.messages.votes import Vote

LabelSource = Literal["critic", "proxy", "outcome", "human"]
"""Who said which side is better: the critics' own mean, a judge that is no feature, a validator, a person."""
TRUSTED_SOURCES: frozenset[str] = frozenset({"outcome", "human"})
PairStrategy = Literal["best_vs_rest", "adjacent"]
GateState = Literal["shadow", "active"]
SnapshotKind = Literal["bt", "text", "lora"]
"""What a reward model weighs: critics, or texts by n-grams, or texts by a language model's LoRA adapter."""
FinetuneStep = Literal["planned", "dataset", "trained", "compared", "promoted", "kept"]
OVERALL = "overall"
"""The name of what a label without a dimension judges."""
RunRevision = tuple[str, int]
"""A run's id, and which revision of it: 0 is the run as it was made, and each rescoring adds one."""
TEXT_MODE = "text"
TEXT_CRITICS = frozenset({"text_rm", "lora_rm"})
"""Rewards of texts as critics, names that no other critic takes. Their mode is ``TEXT_MODE``."""
TEXT_FEATURES = frozenset(f"{name}.{TEXT_MODE}" for name in TEXT_CRITICS)
"""What was said of the prompt alone: models weigh it, and the critics' mean is without it."""
CONTEXT_MARK = "@"
"""Stands before a context in the name of a feature: ``@arm=physics`` is a candidate's own,
``flicker.quality@world_model=dit-7b`` what a critic's score counts there above what it counts elsewhere."""


class CriticResult(Contract, frozen=True, kw_only=True):
    """What one critic said of one video, as the original TriBrain writes it."""

    critic_name: Name
    scores: Annotated[dict[Name, UnitScore | None], Meta(max_length=MAX_SCORES)]
    """Failure mode (``physics``, ``task``, …) to score; null where the critic could not judge."""
    notes: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


class TraceEvent(Contract, frozen=True, kw_only=True):
    """One iteration of a refinement run. Key on Kafka: the run id.

    Identity: (``run_id``, ``meta["revision"]``, ``iter_idx``).

    ``overall_score`` is the critics' own reward. It is null for a candidate that could not be judged, and
    ``meta["error"]`` then says why. ``meta["outcome"]``, where present, is ``{"score": …, "source": …}``:
    a validator's or a person's judgement of this video in [0, 1].

    ``meta["revision"]`` is 0 or absent in a run as it was made. A rescoring writes every iteration again
    under the next revision; ``meta["rescored"]`` then lists the critics that judged this video anew, and
    ``meta["rescored_in"]`` is the last revision in which any did.
    """

    SCHEMA: ClassVar[str] = "tribrain.trace/1"

    schema: str = SCHEMA
    iter_idx: Iteration
    prompt: str
    artifact_path: str
    critic_results: Annotated[tuple[CriticResult, ...], Meta(max_length=MAX_SCORES)] = ()
    fused_scores: dict[str, Number | None] = field(default_factory=dict)
    belief_probs: dict[str, Number] = field(default_factory=dict)
    overall_score: UnitScore | None
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def run_id(self) -> str:
        return str(self.meta["run_id"])

    @property
    def revision(self) -> int:
        return self.meta.get("revision") or 0

    @property
    def run(self) -> RunRevision:
        return self.run_id, self.revision

    @property
    def rescored_in(self) -> int:
        """The last revision in which a critic judged the video anew; 0 where none did."""
        return self.meta.get("rescored_in") or (self.revision if self.meta.get("rescored") else 0)

    @property
    def goal_instruction(self) -> str:
        return str(self.meta.get("goal_instruction") or "")

    @property
    def task_id(self) -> str:
        return str(self.meta.get("task_id") or self.meta["run_id"])

    @property
    def context(self) -> dict[str, Any]:
        """What the whole run was made with; ``meta`` is free in form, so what is no object is none."""
        return self._object("context")

    @property
    def candidate_context(self) -> dict[str, Any]:
        """What this candidate was made with."""
        return self._object("candidate_context")

    @property
    def outcome_score(self) -> float | None:
        outcome = self.meta.get("outcome")
        return float(outcome["score"]) if isinstance(outcome, dict) else None

    def _object(self, name: str) -> dict[str, Any]:
        found = self.meta.get(name)
        return found if isinstance(found, dict) else {}

    def critic_scores(self) -> dict[str, float | None]:
        """``{"flicker.smoothness": 0.47, …}``: critic and mode, null where a critic gave none.

        Of a name that is there twice the score counts, whatever the order; two that differ are refused where
        the event is decoded.
        """
        scores: dict[str, float | None] = {}
        for result in self.critic_results:
            for mode, score in result.scores.items():
                name = f"{result.critic_name}.{mode}"
                if score is not None or name not in scores:
                    scores[name] = score
        return scores


class RunEnd(Contract, frozen=True, kw_only=True):
    """Ends a run on the trace topic; the last line of its ``trace.jsonl``.

    A revision has an end of its own: ``meta["revision"]`` is 0 or absent for the run as it was made.
    """

    SCHEMA: ClassVar[str] = "tribrain.run_end/1"

    schema: str = SCHEMA
    run_id: RunId
    iterations: Iterations
    """Every ``iter_idx`` that belongs to the run, ascending."""
    stop_reason: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def revision(self) -> int:
        return self.meta.get("revision") or 0

    @property
    def run(self) -> RunRevision:
        return self.run_id, self.revision


class RunClosed(Contract, frozen=True, kw_only=True):
    """A run is done with: its pairs are on their topic. On a topic of its own, which is compacted.

    A pair former reads these marks before the events, and forms nothing of such a run again. Key on Kafka:
    the model and the run id with a slash between, and of a revision another one and its number.
    """

    SCHEMA: ClassVar[str] = "tribrain.run_closed/1"

    schema: str = SCHEMA
    run_id: RunId
    model: Id
    """Pair formers of other reward models form their own pairs of the run, and take no notice."""
    iterations: Iterations
    revision: Count | UnsetType = UNSET
    """Absent for the run as it was made."""

    @property
    def run(self) -> RunRevision:
        return self.run_id, self.revision or 0


class PreferencePair(Contract, frozen=True, kw_only=True):
    """One statement that a candidate is better than another, or as good, with all that a model may learn it
    from.
    """

    SCHEMA: ClassVar[str] = "tribrain.pair/1"

    schema: str = SCHEMA
    pair_id: Id = ""
    """Deterministic: the same two candidates, label source and strategy give the same id everywhere."""
    run_id: Id = ""
    task_id: Id
    model: Id = "default"
    label_source: LabelSource
    dimension: Name = ""
    """What the label judges: ``physics``, ``smoothness``, …; empty, or ``OVERALL``, for the whole."""
    weight: Annotated[float, Meta(ge=0.0, le=MAX_WEIGHT)] = 1.0
    tie: bool = False
    """Neither side is better; which one is called chosen then says nothing."""
    gap: Annotated[float, Meta(ge=-2 * MAX_NUMBER, le=2 * MAX_NUMBER)] = 0.0
    """Chosen minus rejected score of the label source."""
    goal_instruction: str = ""
    chosen_prompt: str = ""
    rejected_prompt: str = ""
    chosen_artifact: str = ""
    rejected_artifact: str = ""
    chosen_score: Number | None = None
    rejected_score: Number | None = None
    chosen_critics: Scores
    rejected_critics: Scores
    context: Context = field(default_factory=dict)
    """Shared by both sides: world model, task family."""
    chosen_context: Context = field(default_factory=dict)
    rejected_context: Context = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    """``revision``, where a side was rescored, is the revision of the run that the pair was formed of."""
    withdrawn: bool | UnsetType = UNSET
    """Whether this takes back the label of the pair with this ``pair_id``, which stands before it; unset
    where it does not, as almost always."""

    @property
    def revision(self) -> int:
        """0 for a pair of a run as it was made, and for one from elsewhere, whatever its ``meta`` holds."""
        found = self.meta.get("revision")
        return found if type(found) is int and found > 0 else 0

    @property
    def run(self) -> RunRevision:
        return self.run_id, self.revision


class PairsEnd(Contract, frozen=True, kw_only=True):
    """On the pairs topic after the last pair of a run, or of a revision of it.

    The end of the run as it was made settles the task.
    """

    SCHEMA: ClassVar[str] = "tribrain.pairs_end/1"

    schema: str = SCHEMA
    run_id: Id
    task_id: Id
    model: Id = "default"
    n_pairs: Count
    n_candidates: Count
    revision: Count | UnsetType = UNSET
    """Absent for the run as it was made."""

    @property
    def run(self) -> RunRevision:
        return self.run_id, self.revision or 0


class DimensionReward(Contract, frozen=True, kw_only=True):
    """The reward of one dimension; the fields are those of a RewardSnapshot.

    Weights and scales are in the order of ``feature_names``, so that each name stands here once.
    """

    gate: GateState
    statement: str
    feature_names: tuple[str, ...]
    weights: tuple[float, ...]
    scales: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...] = ()
    labels: dict[str, Count]
    metrics: dict[str, Any]
    references: dict[str, str] = field(default_factory=dict)
    tie_nu: Annotated[float, Meta(ge=0.0, le=MAX_TIE_NU)] = 0.0


class RewardSnapshot(Contract, frozen=True, kw_only=True):
    """A reward model and the evidence for it: all that scoring needs. What learning needs is a Checkpoint.

    The probability that a is preferred to b is σ(Σ_j weights[j] · (a_j − b_j) / scales[j]), where a critic
    that is missing on either side contributes 0. Features are critics (``flicker.quality``) and contexts, see
    ``CONTEXT_MARK``.
    """

    SCHEMA: ClassVar[str] = "tribrain.reward_snapshot/1"
    KIND: ClassVar[SnapshotKind] = "bt"

    schema: str = SCHEMA
    model: Id
    kind: Literal["bt"] = "bt"
    version: Count
    """Distinct pairs, ends and withdrawals learnt; so it only grows, and is the same on every replay."""
    gate: GateState
    statement: str
    """One sentence for people: what the model was made of and whether it may steer."""
    feature_names: tuple[str, ...]
    feature_hash: str
    weights: dict[str, float]
    scales: dict[str, float]
    covariance: tuple[tuple[float, ...], ...] = ()
    """Posterior covariance of the weights, in the order of ``feature_names``; empty for a point estimate."""
    labels: dict[str, Count]
    """Pairs learnt per label source, without those that were taken back."""
    metrics: dict[str, Any]
    """Test-then-train figures, each pair predicted before any pair of its task was learnt."""
    consumed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Topic to partition to next offset; empty for a model made from a file."""
    topic_ids: dict[str, str] = field(default_factory=dict)
    """Topic to the id that Kafka gave it: one that is deleted and made again counts its offsets anew."""
    base: str = ""
    """Checksum of the checkpoint from which learning went on where the pairs topic was made again."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """Which learner made it: its name under ``learner``, and its ``parameters``."""
    references: dict[str, str] = field(default_factory=dict)
    """Shared context to the value for which the critics' own weights are; others add to them."""
    tie_nu: Annotated[float, Meta(ge=0.0, le=MAX_TIE_NU)] = 0.0
    """Davidson's ν: with p = P(a ≻ b) where it is no tie, a tie has the probability
    ν√(p(1 − p)) / (1 + ν√(p(1 − p))). 0 where no tie was learnt."""
    ranges: dict[str, ScoreRange] = field(default_factory=dict)
    """Feature of a critic to what it showed in the pairs that were learnt. By that
    ``trainers.bradley_terry.marks.is_mark`` tells a mark for a missing score, which was not learnt, wherever
    raw scores are judged."""
    dimensions: Annotated[dict[Name, DimensionReward], Meta(max_length=MAX_DIMENSIONS)] = field(
        default_factory=dict
    )
    """What labels judge apart from the whole, to its reward."""
    checksum: str = ""
    """SHA-256 over the message with this field empty."""

    @property
    def n_pairs(self) -> int:
        """Pairs learnt, of the whole and of every dimension."""
        of_each = (self.labels, *[reward.labels for reward in self.dimensions.values()])
        return sum(sum(labels.values()) for labels in of_each)


class Checkpoint(Contract, frozen=True, kw_only=True):
    """A preference learner's whole state: what recovery and a rollback go on from.

    It is under a key of its own on the snapshots topic, and rarer than snapshots. Learning again from its
    stamp on gives the snapshots that were published since, bit for bit.
    """

    SCHEMA: ClassVar[str] = "tribrain.checkpoint/1"
    KIND: ClassVar[Literal["checkpoint"]] = "checkpoint"

    schema: str = SCHEMA
    model: Id
    version: Count
    """Of the learner; see RewardSnapshot."""
    snapshot: str
    """Checksum of the RewardSnapshot of this state, whether it was published or not."""
    consumed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Topic to partition to next offset."""
    topic_ids: dict[str, str] = field(default_factory=dict)
    """Topic to the id that Kafka gave it."""
    base: str = ""
    """Checksum of the checkpoint from which learning went on where the pairs topic was made again."""
    state: dict[str, Any]
    """Opaque to everyone but the learner."""
    checksum: str = ""
    """SHA-256 over the message with this field empty."""


class TextSnapshot(Contract, frozen=True, kw_only=True):
    """A reward of texts alone that is learnt pair by pair: linear in hashed n-grams of characters."""

    SCHEMA: ClassVar[str] = "tribrain.text_snapshot/1"
    KIND: ClassVar[SnapshotKind] = "text"

    schema: str = SCHEMA
    model: Id
    kind: Literal["text"] = "text"
    version: Count
    """Distinct pairs learnt."""
    gate: GateState
    statement: str
    """One sentence for people: what the model was made of and whether it may choose."""
    scheme: dict[str, Any]
    """How a text becomes numbers: sizes of n-grams, buckets, hash; readers refuse what they do not know."""
    labels: dict[str, Count]
    """Pairs learnt per label source."""
    metrics: dict[str, Any]
    """Test-then-train figures, each pair predicted before any pair of its task was learnt."""
    consumed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Topic to partition to next offset; empty for a model made from a file."""
    topic_ids: dict[str, str] = field(default_factory=dict)
    """Topic to the id that Kafka gave it."""
    learner: dict[str, Any]
    """Weights and all else that later steps depend on; ``trainers.text`` reads it."""
    checksum: str = ""
    """SHA-256 over the message with this field empty."""


class AdapterSnapshot(Contract, frozen=True, kw_only=True):
    """A LoRA adapter of a text reward model, and the evidence for it; the adapter is in an artifact store."""

    SCHEMA: ClassVar[str] = "tribrain.adapter_snapshot/1"
    KIND: ClassVar[SnapshotKind] = "lora"

    schema: str = SCHEMA
    model: Id
    kind: Literal["lora"] = "lora"
    version: Count
    """Number of the training."""
    gate: GateState
    """``active``: shown to beat the one in force and the text baselines on tasks kept apart."""
    statement: str
    """One sentence for people."""
    base_model: dict[str, Any]
    """Name and hashes of the base model and its tokenizer, as in the adapter's ``reward.json``."""
    uri: str
    """Where the adapter is: a folder, or a URI of a file system that fsspec knows."""
    files: dict[str, dict[str, Any]]
    """File name to its ``size`` in bytes and ``sha256``."""
    labels: dict[str, Count]
    """Pairs that it was trained on, per label source."""
    metrics: dict[str, Any]
    """Of the tasks kept apart: its own figures, those of what it was compared with, and their intervals."""
    consumed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Topic to partition to next offset."""
    topic_ids: dict[str, str] = field(default_factory=dict)
    """Topic to the id that Kafka gave it."""
    checksum: str = ""
    """SHA-256 over the message with this field empty."""
    in_force: dict[str, Any] = field(default_factory=dict)
    """The active adapter that stays in use beside a shadow: its ``version``, ``uri``, ``files``, ``consumed``
    and ``topic_ids``; empty where there is none, or where this one is active."""


class Rollback(Contract, frozen=True, kw_only=True):
    """On the pairs topic: from here on the reward model is an earlier one, which is carried along.

    What was learnt since then is not learnt again when it comes again, and the version still grows.
    """

    SCHEMA: ClassVar[str] = "tribrain.rollback/1"

    schema: str = SCHEMA
    model: Id
    reason: str = ""
    checkpoint: str
    """The earlier Checkpoint: its zstd bytes in base64."""


class FinetuneEvent(Contract, frozen=True, kw_only=True):
    """A step of a fine-tuning of a world model that is done. Key on Kafka: the reward model's name.

    Identity: ``event_id``. A job that was killed may tell of a step again, with the same id.
    """

    SCHEMA: ClassVar[str] = "tribrain.finetune/1"

    schema: str = SCHEMA
    event_id: Id
    """Deterministic: the same plan and step give the same id everywhere."""
    model: Id
    """The reward model by which data is selected and checkpoints are compared."""
    version: Count
    """Number of the training, from 1."""
    step: FinetuneStep
    """``promoted`` and ``kept`` end a training: the new checkpoint is in force, or the one before stays."""
    statement: str
    """One sentence for people."""
    policy: str
    """Which videos are shown: ``top:0.25``, …"""
    base: str
    """The checkpoint in force before; empty for the world model as it was made."""
    dataset: str = ""
    """Folder of the dataset."""
    checkpoint: str = ""
    """Folder of the new checkpoint, from ``trained`` on."""
    snapshot_version: Count | None = None
    """Of the reward snapshot that selects and judges; null where the critics' mean does."""
    consumed: dict[str, dict[str, int]]
    """Topic to partition to next offset: how far the traces were read."""
    topic_ids: dict[str, str] = field(default_factory=dict)
    """Topic to the id that Kafka gave it."""
    details: dict[str, Any] = field(default_factory=dict)
    """Figures of the step: of ``planned`` digests of the prompts that are ``reserved`` for comparison, of
    ``dataset`` those of what is ``shown``, of ``compared`` and the end the verdict with all results."""


class Candidate(Contract, frozen=True, kw_only=True):
    """One of several candidates for a task, with what critics and people said of it; a line of a file.

    It is on no topic: it is what a reward model is measured on.
    """

    SCHEMA: ClassVar[str] = "tribrain.candidate/1"

    schema: str = SCHEMA
    task_id: Id
    candidate_id: Id
    critic_scores: Scores
    """In each critic's own units, higher is better; null where a critic gave none."""
    human_score: Number
    """What people gave it, in any unit; higher is better."""
    context: Context = field(default_factory=dict)
    """Of the task, as in a pair."""
    candidate_context: Context = field(default_factory=dict)
    """Of this candidate alone, as in a pair's ``chosen_context``."""


TraceMessage = TraceEvent | RunEnd
PairMessage = PreferencePair | PairsEnd | Rollback
AnySnapshot = RewardSnapshot | TextSnapshot | AdapterSnapshot
Sealed = AnySnapshot | Checkpoint
"""What carries a checksum of itself."""
Message = TraceMessage | RunClosed | Vote | PairMessage | Sealed | FinetuneEvent


TopicKind = SnapshotKind | Literal["checkpoint", "base"]
"""What is on the snapshots topic. A base is a checkpoint that later ones and snapshots went on from."""


def snapshot_key(model: str, kind: TopicKind = "bt") -> str:
    """Key on the snapshots topic: ``bt:default``. No two models or kinds share one, whatever their names."""
    return f"{kind}:{model}"
