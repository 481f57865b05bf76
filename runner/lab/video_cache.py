"""Videos of the simulated world of which no file is kept: each judged once, whoever asks for it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from runner.critics.from_scene import results_from_scene
from runner.critics.pixel import default_critics
from runner.video import read_video, write_video
from runner.worlds.scene import FPS, Failures, draw
from runner.worlds.simulated import SimulatedWorld
from streams.messages.contracts import CriticResult

Seen = tuple[Failures, tuple[CriticResult, ...]]


class VideoCache:
    """The videos of one task, remembered.

    By default nothing is drawn: what the critics say is computed from the scene. With ``rendered`` each video
    is made and decoded for them as in a run, which takes many times as long.
    """

    def __init__(self, world: SimulatedWorld, *, rendered: bool = False) -> None:
        self.world = world
        self.critics = default_critics()
        self._rendered = rendered
        self._seen: dict[tuple[str, int], Seen] = {}

    def see(self, prompt: str, seed: int) -> Seen:
        """The video of this prompt and generation seed: its hidden failures, and what the critics say."""
        if (prompt, seed) not in self._seen:
            failures = self.world.failures(prompt, seed=seed)
            self._seen[prompt, seed] = failures, self._judged(failures, seed)
        return self._seen[prompt, seed]

    def _judged(self, failures: Failures, seed: int) -> tuple[CriticResult, ...]:
        scene, shot = self.world.scene, self.world.shot(failures, seed=seed)
        if not self._rendered:
            return results_from_scene(scene, shot)
        with TemporaryDirectory() as folder:
            video = Path(folder) / "video.mp4"
            write_video(video, draw(scene, shot), FPS)
            frames, fps = read_video(video)
        return tuple(critic.judge(frames, fps=fps, goal=self.world.goal) for critic in self.critics)
