// Sends votes one after the other, each again until the server answers, also after a reload.

import { keep, restore } from "/static/kept.js";

const PENDING = "tribrain.pending";
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 3000;

export class Outbox {
  #pending = restore(PENDING, []);
  #isSending = false;
  #pause = FIRST_PAUSE_MS;

  // `tell` has `saving()`, `waiting(problem, count)`, `accepted(vote, said)` and `refused(vote, problem)`.
  constructor(tell) {
    this.tell = tell;
  }

  get isEmpty() {
    return this.#pending.length === 0;
  }

  send(vote) {
    this.#pending.push(vote);
    this.#keep();
    this.sendAll();
  }

  async sendAll() {
    if (this.#isSending) return;
    this.#isSending = true;
    while (this.#pending.length) {
      this.tell.saving();
      const vote = this.#pending[0];
      let problem = "The server does not answer.";
      try {
        const answer = await fetch("/vote/answers", {
          method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(vote),
          signal: AbortSignal.timeout(10000),
        });
        const said = await answer.json().catch(() => ({}));
        if (answer.ok) {
          this.#accepted(vote, said);
          continue;
        }
        problem = said.error ?? `The server answers ${answer.status}.`;
        if (answer.status < 500 && answer.status !== 408 && answer.status !== 429) {
          // A retry would not help.
          this.#refused(vote, problem);
          continue;
        }
      } catch { /* no answer */ }
      this.tell.waiting(problem, this.#pending.length);
      await new Promise((done) => setTimeout(done, this.#pause));
      this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE_MS);
    }
    this.#isSending = false;
  }

  // Resolves once the server has answered for every vote.
  emptied() {
    return new Promise((done) => {
      const look = () => (this.isEmpty ? done() : setTimeout(look, 100));
      look();
    });
  }

  #accepted(vote, said) {
    this.#pending.shift();
    // If this showing was already answered, the earlier answer counts, under its own id.
    for (const undo of this.#pending) if (undo.takes_back === vote.vote_id) undo.takes_back = said.vote_id;
    this.#keep();
    this.#pause = FIRST_PAUSE_MS;
    this.tell.accepted(vote, said);
  }

  #refused(vote, problem) {
    // What was never stored cannot be taken back.
    this.#pending = this.#pending.slice(1).filter((undo) => undo.takes_back !== vote.vote_id);
    this.#keep();
    this.tell.refused(vote, problem);
  }

  #keep() {
    keep(PENDING, this.#pending);
  }
}
