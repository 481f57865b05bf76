// The pairs to come: the next one loads while another is on the stage.

import { Pair } from "/static/player.js";

export class Pairs {
  #dimensions;
  #notice;
  #turn = 0;
  #ahead = []; // promises of pairs, the next one first

  // `notice` shows why no pair comes; an empty text takes that back.
  constructor(dimensions, notice) {
    this.#dimensions = dimensions;
    this.#notice = notice;
  }

  // Begin to load, unless a pair is there or loads already.
  // isFresh: nothing is on the stage, so the server need not reserve what was there before.
  prepare(isFresh = false) {
    if (!this.#ahead.length) this.#ahead.push(this.#load(isFresh));
  }

  // The next pair, which stays the next one until it is taken; `pair` is null if there is none, and `why` says why.
  next(isFresh = false) {
    this.prepare(isFresh);
    return this.#ahead[0];
  }

  take() {
    this.#ahead.shift();
  }

  putBack(data) {
    this.#ahead.unshift(Promise.resolve(data));
  }

  async #load(isFresh) {
    const dimension = this.#dimensions[this.#turn % this.#dimensions.length];
    this.#turn += 1;
    for (let wait = 250; ; wait = Math.min(2 * wait, 3000)) {
      let data = null;
      let why = "The server does not answer.";
      try {
        const answer = await fetch(`/vote/next?dimension=${encodeURIComponent(dimension)}${isFresh ? "&fresh=1" : ""}`, { signal: AbortSignal.timeout(60000) });
        if (answer.ok) data = await answer.json();
        else {
          const said = (await answer.json().catch(() => ({}))).error;
          if (answer.status < 500) {
            this.#notice(said ?? "Please reload the page.");
            return { pair: null, why: "refused" };
          }
          why = said ?? why;
        }
      } catch { /* no answer */ }
      if (data !== null) {
        const player = data.pair === null ? null : new Pair(data.left, data.right);
        try {
          await player?.ready;
          this.#notice("");
          return { ...data, player };
        } catch {
          player.destroy();
        }
      } else {
        this.#notice(`${why} The page continues when it is back.`);
      }
      await new Promise((done) => setTimeout(done, wait));
    }
  }
}
