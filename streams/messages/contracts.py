"""The messages on the topics, as frozen structs.

A line of ``trace.jsonl`` is the value of a message on the trace topic, a line of ``pairs.jsonl`` of one on
the pairs topic, and ``bt_reward.json`` of one on the snapshots topic. Every message names its schema and
major version (``tribrain.trace/1``). Fields unknown to this version are kept in ``extras`` and written back.
``msgspec.structs.replace`` returns a changed copy.
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
"""Who says which side is better: the critics' mean, a judge that is not a feature, a validator, a person."""
TRUSTED_SOURCES: frozenset[str] = frozenset({"outcome", "human"})
PairStrategy = Literal["best_vs_rest", "adjacent"]
"""Which candidates of a run make pairs: the best with all others, or each with the one before it."""
GateState = Literal["shadow", "active"]
"""Whether a reward is shown to beat the critics' mean, and so may steer."""
SnapshotKind = Literal["bt", "text", "lora"]
"""The input of a reward model: critics, text as n-grams, or text read by a language model with LoRA."""
FinetuneStep = Literal["planned", "dataset", "trained", "compared", "promoted", "kept"]
OVERALL = "overall"
"""The dimension of a label that names none."""
RunRevision = tuple[str, int]
"""A run's id and its revision: 0 is the original run, and each rescoring adds one."""
TEXT_MODE = "text"
TEXT_CRITICS = frozenset({"text_rm", "lora_rm"})
"""Reserved names of text rewards that act as critics. Their mode is ``TEXT_MODE``."""
TEXT_FEATURES = frozenset(f"{name}.{TEXT_MODE}" for name in TEXT_CRITICS)
"""Scores of the prompt alone: models weigh them, but the critics' mean excludes them."""
CONTEXT_MARK = "@"
"""Precedes a context in a feature name. ``@arm=physics`` is a context of the candidate itself.
``flicker.quality@world_model=dit-7b`` is the extra weight of a critic's score in that context."""


class CriticResult(Contract, frozen=True, kw_only=True):
    """One critic's judgement of one video, in the format of the original TriBrain."""

    critic_name: Name
    scores: Annotated[dict[Name, UnitScore | None], Meta(max_length=MAX_SCORES)]
    """Failure mode (``physics``, ``task``, …) to score; null if the critic could not judge."""
    notes: str = ""
    extra: dict[str, Any] = field(default_factory=dict)


class TraceEvent(Contract, frozen=True, kw_only=True):
    """One iteration of a refinement run. Key on Kafka: the run id.

    Identity: (``run_id``, ``meta["revision"]``, ``iter_idx``).

    ``overall_score`` is the critics' own reward. It is null for a candidate that could not be judged;
    ``meta["error"]`` then says why. ``meta["outcome"]``, if present, is ``{"score": …, "source": …}``: a
    validator's or a person's judgement of this video in [0, 1].

    ``meta["revision"]`` is 0 or absent in an original run. A rescoring writes every iteration again under the
    next revision; ``meta["rescored"]`` then lists the critics that judged this video again, and
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
        """The run's id, which ``meta`` has."""
        return str(self.meta["run_id"])

    @property
    def revision(self) -> int:
        """0 in an original run; each rescoring adds one."""
        return self.meta.get("revision") or 0

    @property
    def run(self) -> RunRevision:
        """``run_id`` and ``revision``."""
        return self.run_id, self.revision

    @property
    def rescored_in(self) -> int:
        """The last revision in which a critic judged the video again; 0 if none did."""
        return self.meta.get("rescored_in") or (self.revision if self.meta.get("rescored") else 0)

    @property
    def goal_instruction(self) -> str:
        """What the run is for; empty if the trace does not say."""
        return str(self.meta.get("goal_instruction") or "")

    @property
    def task_id(self) -> str:
        """Shared by runs for the same task; by default the run's id."""
        return str(self.meta.get("task_id") or self.meta["run_id"])

    @property
    def context(self) -> dict[str, Any]:
        """The context of the whole run; empty if the value in ``meta``, which is free-form, is not an
        object."""
        return self._object("context")

    @property
    def candidate_context(self) -> dict[str, Any]:
        """The context of this candidate alone."""
        return self._object("candidate_context")

    @property
    def outcome_score(self) -> float | None:
        """A validator's or a person's score of this video in [0, 1]; None without one."""
        outcome = self.meta.get("outcome")
        return float(outcome["score"]) if isinstance(outcome, dict) else None

    def _object(self, name: str) -> dict[str, Any]:
        found = self.meta.get(name)
        return found if isinstance(found, dict) else {}

    def critic_scores(self) -> dict[str, float | None]:
        """``{"flicker.smoothness": 0.47, …}``: critic and mode to score, None if the critic gave none.

        If a name occurs twice, a score wins over None; two different scores are refused when decoding.
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

    Each revision has its own end: ``meta["revision"]`` is 0 or absent for the original run. The end of a
    rescoring lists in ``meta["required"]`` the critics without whose scores a video is no candidate.
    """

    SCHEMA: ClassVar[str] = "tribrain.run_end/1"

    schema: str = SCHEMA
    run_id: RunId
    iterations: Iterations
    """Every ``iter_idx`` of the run, ascending."""
    stop_reason: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def revision(self) -> int:
        return self.meta.get("revision") or 0

    @property
    def run(self) -> RunRevision:
        return self.run_id, self.revision


class RunClosed(Contract, frozen=True, kw_only=True):
    """Marks a run as closed: its pairs are on the pairs topic. On a compacted topic of its own.

    A pair former reads these marks before the events, and does not form a closed run's pairs again. Key on
    Kafka: ``model/run_id``, or ``model/run_id/revision`` for a rescoring.
    """

    SCHEMA: ClassVar[str] = "tribrain.run_closed/1"

    schema: str = SCHEMA
    run_id: RunId
    model: Id
    """The reward model; pair formers of other models ignore this mark and form their own pairs."""
    iterations: Iterations
    revision: Count | UnsetType = UNSET
    """Absent for the original run."""

    @property
    def run(self) -> RunRevision:
        return self.run_id, self.revision or 0


class PreferencePair(Contract, frozen=True, kw_only=True):
    """A label that one candidate is better than another, or as good, with all data for learning it."""

    SCHEMA: ClassVar[str] = "tribrain.pair/1"

    schema: str = SCHEMA
    pair_id: Id = ""
    """Deterministic: the same candidates, label source and strategy always give the same id."""
    run_id: Id = ""
    task_id: Id
    model: Id = "default"
    label_source: LabelSource
    dimension: Name = ""
    """What the label judges: ``physics``, ``smoothness``, …; empty or ``OVERALL`` means overall."""
    weight: Annotated[float, Meta(ge=0.0, le=MAX_WEIGHT)] = 1.0
    tie: bool = False
    """Neither side is better; which one is called chosen is then arbitrary."""
    gap: Annotated[float, Meta(ge=-2 * MAX_NUMBER, le=2 * MAX_NUMBER)] = 0.0
    """The label source's score of the chosen side minus that of the rejected one."""
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
    """If a side was rescored, ``revision`` is the revision of the run from which the pair was formed."""
    withdrawn: bool | UnsetType = UNSET
    """Whether this message withdraws the label of the earlier pair with this ``pair_id``; usually unset."""

    @property
    def revision(self) -> int:
        """The revision in ``meta``; 0 for a pair of an original run, and if the value is not a revision."""
        found = self.meta.get("revision")
        return found if type(found) is int and found > 0 else 0

    @property
    def run(self) -> RunRevision:
        """The run that it was formed from, and the revision."""
        return self.run_id, self.revision


class PairsEnd(Contract, frozen=True, kw_only=True):
    """Follows the last pair of a run, or of a revision of it, on the pairs topic.

    The end of the original run settles the task.
    """

    SCHEMA: ClassVar[str] = "tribrain.pairs_end/1"

    schema: str = SCHEMA
    run_id: Id
    task_id: Id
    model: Id = "default"
    n_pairs: Count
    n_candidates: Count
    revision: Count | UnsetType = UNSET
    """Absent for the original run."""

    @property
    def run(self) -> RunRevision:
        return self.run_id, self.revision or 0


class DimensionReward(Contract, frozen=True, kw_only=True):
    """The reward of one dimension; fields are as in RewardSnapshot.

    Weights and scales are in the order of ``feature_names``, so that each name is stored once.
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
    """A reward model and the evidence for it: all that scoring needs. Learning needs a Checkpoint.

    The probability that a is preferred to b is σ(Σ_j weights[j] · (a_j − b_j) / scales[j]); a critic missing
    on either side contributes 0. Features are critics (``flicker.quality``) and contexts, see
    ``CONTEXT_MARK``.
    """

    SCHEMA: ClassVar[str] = "tribrain.reward_snapshot/1"
    KIND: ClassVar[SnapshotKind] = "bt"

    schema: str = SCHEMA
    model: Id
    kind: Literal["bt"] = "bt"
    version: Count
    """Number of distinct pairs, ends and withdrawals learnt; it only grows and is the same in every
    replay."""
    gate: GateState
    statement: str
    """One sentence for people: what the model was learnt from, and whether it may steer."""
    feature_names: tuple[str, ...]
    feature_hash: str
    weights: dict[str, float]
    scales: dict[str, float]
    covariance: tuple[tuple[float, ...], ...] = ()
    """Posterior covariance of the weights, in the order of ``feature_names``; empty for a point estimate."""
    labels: dict[str, Count]
    """Pairs learnt per label source, without withdrawn ones."""
    metrics: dict[str, Any]
    """Test-then-train figures, each pair predicted before any pair of its task was learnt."""
    consumed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Topic to partition to next offset; empty for a model learnt from a file."""
    topic_ids: dict[str, str] = field(default_factory=dict)
    """Topic to Kafka's id for it; a recreated topic has a new id, and its offsets start at 0 again."""
    base: str = ""
    """If the pairs topic was recreated: checksum of the checkpoint from which learning continued."""
    recipe: dict[str, Any] = field(default_factory=dict)
    """The learner's name under ``learner``, and its ``parameters``."""
    references: dict[str, str] = field(default_factory=dict)
    """Shared context to its reference value, for which the critics' weights hold; other values add to
    them."""
    tie_nu: Annotated[float, Meta(ge=0.0, le=MAX_TIE_NU)] = 0.0
    """Davidson's ν: with p = P(a ≻ b | no tie), a tie has the probability
    ν√(p(1 − p)) / (1 + ν√(p(1 − p))). 0 if no tie was learnt."""
    ranges: dict[str, ScoreRange] = field(default_factory=dict)
    """A critic's feature to the range of its scores in the learnt pairs.
    ``trainers.bradley_terry.marks.is_mark`` uses it to recognise markers of missing scores, which were not
    learnt, among raw scores."""
    dimensions: Annotated[dict[Name, DimensionReward], Meta(max_length=MAX_DIMENSIONS)] = field(
        default_factory=dict
    )
    """Dimension to its reward, for labels that do not judge overall."""
    checksum: str = ""
    """SHA-256 of the message with this field empty."""

    @property
    def n_pairs(self) -> int:
        """Pairs learnt, overall and in every dimension."""
        of_each = (self.labels, *[reward.labels for reward in self.dimensions.values()])
        return sum(sum(labels.values()) for labels in of_each)


class Checkpoint(Contract, frozen=True, kw_only=True):
    """A preference learner's whole state, from which recovery and rollbacks continue.

    It has a key of its own on the snapshots topic and is rarer than snapshots. Learning again from its
    ``consumed`` offsets reproduces the snapshots published since, bit for bit.
    """

    SCHEMA: ClassVar[str] = "tribrain.checkpoint/1"
    KIND: ClassVar[Literal["checkpoint"]] = "checkpoint"

    schema: str = SCHEMA
    model: Id
    version: Count
    """Number of pairs, ends and withdrawals learnt, as in RewardSnapshot."""
    snapshot: str
    """Checksum of the RewardSnapshot of this state, published or not."""
    consumed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Topic to partition to next offset."""
    topic_ids: dict[str, str] = field(default_factory=dict)
    """Topic to Kafka's id for it."""
    base: str = ""
    """Checksum of the checkpoint from which learning continued, as in RewardSnapshot."""
    state: dict[str, Any]
    """Opaque to everything but the learner."""
    checksum: str = ""
    """SHA-256 of the message with this field empty."""


class TextSnapshot(Contract, frozen=True, kw_only=True):
    """A text reward model learnt pair by pair: linear in hashed character n-grams."""

    SCHEMA: ClassVar[str] = "tribrain.text_snapshot/1"
    KIND: ClassVar[SnapshotKind] = "text"

    schema: str = SCHEMA
    model: Id
    kind: Literal["text"] = "text"
    version: Count
    """Distinct pairs learnt."""
    gate: GateState
    statement: str
    """One sentence for people: what the model was learnt from, and whether it may choose."""
    scheme: dict[str, Any]
    """How text is turned into features: n-gram sizes, buckets, hash; readers refuse unknown schemes."""
    labels: dict[str, Count]
    """Pairs learnt per label source."""
    metrics: dict[str, Any]
    """Test-then-train figures, each pair predicted before any pair of its task was learnt."""
    consumed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Topic to partition to next offset; empty for a model learnt from a file."""
    topic_ids: dict[str, str] = field(default_factory=dict)
    """Topic to Kafka's id for it."""
    learner: dict[str, Any]
    """Weights and the rest of the learner's state; ``trainers.text`` reads it."""
    checksum: str = ""
    """SHA-256 of the message with this field empty."""


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
    """``active``: shown to beat the adapter in force and the text baselines on held-out tasks."""
    statement: str
    """One sentence for people."""
    base_model: dict[str, Any]
    """Name and hashes of the base model and its tokenizer, as in the adapter's ``reward.json``."""
    uri: str
    """Location of the adapter: a folder, or a URI of a file system that fsspec knows."""
    files: dict[str, dict[str, Any]]
    """File name to its ``size`` in bytes and ``sha256``."""
    labels: dict[str, Count]
    """Training pairs per label source."""
    metrics: dict[str, Any]
    """Results on held-out tasks: of the adapter and of its competitors, with intervals."""
    consumed: dict[str, dict[str, int]] = field(default_factory=dict)
    """Topic to partition to next offset."""
    topic_ids: dict[str, str] = field(default_factory=dict)
    """Topic to Kafka's id for it."""
    checksum: str = ""
    """SHA-256 of the message with this field empty."""
    in_force: dict[str, Any] = field(default_factory=dict)
    """If this adapter is a shadow, the active one that stays in use: its ``version``, ``uri``, ``files``,
    ``consumed`` and ``topic_ids``. Empty if there is none, or if this one is active."""


class Rollback(Contract, frozen=True, kw_only=True):
    """On the pairs topic: resets the reward model to an earlier checkpoint, which the message contains.

    Pairs learnt since that checkpoint are not learnt again if they reappear, and the version still grows.
    """

    SCHEMA: ClassVar[str] = "tribrain.rollback/1"

    schema: str = SCHEMA
    model: Id
    reason: str = ""
    checkpoint: str
    """The earlier Checkpoint: its zstd bytes in base64."""


class FinetuneEvent(Contract, frozen=True, kw_only=True):
    """A completed step of fine-tuning a world model. Key on Kafka: the reward model's name.

    Identity: ``event_id``. A job that was killed may report a step again, with the same id.
    """

    SCHEMA: ClassVar[str] = "tribrain.finetune/1"

    schema: str = SCHEMA
    event_id: Id
    """Deterministic: the same plan and step always give the same id."""
    model: Id
    """The reward model that selects data and compares checkpoints."""
    version: Count
    """Number of the training, from 1."""
    step: FinetuneStep
    """``promoted`` and ``kept`` end a training: the new checkpoint takes over, or the earlier one stays."""
    statement: str
    """One sentence for people."""
    policy: str
    """Which videos are trained on: ``top:0.25``, …"""
    base: str
    """The checkpoint in force before; empty for the original world model."""
    dataset: str = ""
    """Folder of the dataset."""
    checkpoint: str = ""
    """Folder of the new checkpoint, from ``trained`` on."""
    snapshot_version: Count | None = None
    """Version of the reward snapshot that selects and judges; null if the critics' mean does."""
    consumed: dict[str, dict[str, int]]
    """Topic to partition to next offset: how far the traces were read."""
    topic_ids: dict[str, str] = field(default_factory=dict)
    """Topic to Kafka's id for it."""
    details: dict[str, Any] = field(default_factory=dict)
    """Data of the step. ``planned``: digests of the prompts ``reserved`` for comparison. ``dataset``: digests
    of the goals and captions ``shown`` in training. ``compared`` and the last step: the verdict with all
    results."""


class Candidate(Contract, frozen=True, kw_only=True):
    """One of several candidates for a task, with the scores of critics and people; a line of a file.

    It is not on any topic: it serves to evaluate reward models.
    """

    SCHEMA: ClassVar[str] = "tribrain.candidate/1"

    schema: str = SCHEMA
    task_id: Id
    candidate_id: Id
    critic_scores: Scores
    """In each critic's own units, higher is better; null if a critic gave none."""
    human_score: Number
    """People's score, in any unit; higher is better."""
    context: Context = field(default_factory=dict)
    """The task's context, as in a pair."""
    candidate_context: Context = field(default_factory=dict)
    """The context of this candidate alone, as in a pair's ``chosen_context``."""


TraceMessage = TraceEvent | RunEnd
PairMessage = PreferencePair | PairsEnd | Rollback
"""A message of the pairs topic, or a line of a ``pairs.jsonl``."""
AnySnapshot = RewardSnapshot | TextSnapshot | AdapterSnapshot
Sealed = AnySnapshot | Checkpoint
"""Messages that contain their own checksum."""
Message = TraceMessage | RunClosed | Vote | PairMessage | Sealed | FinetuneEvent


TopicKind = SnapshotKind | Literal["checkpoint", "base"]
"""Kinds of messages on the snapshots topic. A base is a checkpoint on which later states build."""


def snapshot_key(model: str, kind: TopicKind = "bt") -> str:
    """Key on the snapshots topic: ``bt:default``. Unique for each model and kind, whatever their names."""
    return f"{kind}:{model}"
