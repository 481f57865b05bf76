// Plays two films in sync: they start, run and restart together.

const HALF_FRAME = 0.5;
const NUDGE = 0.06; // relative change of speed: enough to catch up, too little to be seen
const HOLD = 0.5; // frames that one film may be ahead
const LET_GO = 0.1;

export class Pair {
  constructor(left, right, onEnd = () => {}) {
    this.sides = [left, right];
    this.films = this.sides.map((side) => newVideo(side.film));
    this.plays = [0, 0];
    this.wanted = false;
    this.held = null;
    this.speed = 1;
    this.fps = Math.max(left.fps, right.fps);
    this.ended = [false, false];
    this.onEnd = onEnd;
    this.films.forEach((film, i) => {
      film.addEventListener("ended", () => this.#atEnd(i));
      film.addEventListener("waiting", () => this.#stalled(i));
      film.addEventListener("canplay", () => this.#goOn());
    });
    this.ready = Promise.all(this.films.map(isReady));
  }

  get length() {
    return Math.max(...this.films.map((film) => film.duration || 0));
  }

  get time() {
    return Math.max(...this.films.map((film) => film.currentTime));
  }

  // Seconds between the two films; 0 once one has ended, since it waits for the other.
  get drift() {
    return this.ended.some(Boolean) ? 0 : Math.abs(this.films[0].currentTime - this.films[1].currentTime);
  }

  play() {
    this.wanted = true;
    this.#goOn();
  }

  pause() {
    this.wanted = false;
    this.films.forEach((film) => film.pause());
    if (this.ended.every((over) => !over)) this.#seek(Math.min(...this.films.map((film) => film.currentTime)));
  }

  setSpeed(speed) {
    this.speed = speed;
    this.films.forEach((film) => { film.playbackRate = speed; });
  }

  // Advance both by one frame; after the last frame comes the first.
  step() {
    this.pause();
    const frame = Math.floor(this.time * this.fps + 1e-3) + 1;
    const last = Math.round(this.length * this.fps);
    this.#seek(frame >= last ? 0 : (frame + HALF_FRAME) / this.fps);
  }

  seekTo(share) {
    this.pause();
    this.#seek(share * this.length);
  }

  // Called for every screen refresh. A small lead is corrected by speed. A visible one, as after a slow start of
  // the other film, is corrected by pausing the film that leads.
  keepInStep() {
    if (!this.wanted || this.ended.some(Boolean) || this.films.some((film) => film.seeking)) return;
    const [a, b] = this.films;
    const ahead = (a.currentTime - b.currentTime) * this.fps; // in frames
    const first = ahead > 0 ? a : b;
    if (first === this.held ? Math.abs(ahead) > LET_GO : Math.abs(ahead) > HOLD) {
      this.held = first;
      first.pause();
      return;
    }
    if (this.held) {
      this.held = null;
      this.#goOn();
    }
    const nudge = Math.abs(ahead) > LET_GO ? Math.sign(ahead) * NUDGE : 0;
    a.playbackRate = this.speed * (1 - nudge);
    b.playbackRate = this.speed * (1 + nudge);
  }

  destroy() {
    this.wanted = false;
    this.films.forEach((film) => { film.pause(); film.removeAttribute("src"); film.load(); film.remove(); });
  }

  #goOn() {
    if (!this.wanted || this.films.some((film) => film.readyState < HTMLMediaElement.HAVE_FUTURE_DATA && !film.ended)) return;
    this.films.forEach((film, i) => {
      film.playbackRate = this.speed;
      if (!this.ended[i] && film.paused) film.play().catch(() => {});
    });
  }

  // If one film stalls, the other waits; seeking to its position would stall both.
  #stalled(i) {
    const other = this.films[1 - i];
    if (this.wanted && !this.films[i].ended && !other.ended) other.pause();
  }

  #atEnd(i) {
    this.ended[i] = true;
    this.plays[i] += 1;
    if (!this.ended.every(Boolean)) return this.#goOn(); // a paused film has nothing left to wait for
    this.onEnd();
    if (this.wanted) this.#seek(0).then(() => this.#goOn());
  }

  #seek(time) {
    this.ended = [false, false];
    this.held = null;
    this.films.forEach((film) => film.pause());
    return Promise.all(this.films.map((film) => new Promise((done) => {
      const end = Number.isFinite(film.duration) ? film.duration : 0;
      film.addEventListener("seeked", done, { once: true });
      film.currentTime = Math.min(time, Math.max(0, end - 0.25 / this.fps));
    })));
  }
}

function newVideo(source) {
  const film = document.createElement("video");
  film.muted = true;
  film.playsInline = true;
  film.preload = "auto";
  film.disablePictureInPicture = true;
  film.disableRemotePlayback = true;
  film.src = source;
  return film;
}

function isReady(film) {
  return new Promise((done, failed) => {
    film.addEventListener("canplaythrough", done, { once: true });
    film.addEventListener("error", () => failed(new Error("a video cannot be played")), { once: true });
  });
}
