// The worker as the page sees it: questions, answers, progress, and an end to what takes too long.

const SECONDS = 4; // that a file may take at least
const SECONDS_PER_MEGAPIXEL = 20; // and for its size: about six times what a laptop takes

export class Engine {
  constructor(report) {
    this.report = report; // is told what share is done
    this.pending = null;
    this.asked = 0;
    this.begin();
    this.start();
  }

  /** Another picture: it may ask, whatever became of the last one. */
  begin() {
    this.stopped = null; // or the words with which it was ended, perhaps before its first question
  }

  start() {
    this.worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.worker.onerror = (event) => this.settle("reject", new Error(event.message || "the decoder could not start"));
  }

  /** What the worker answers; an Error with its words where it refuses. One question at a time. */
  ask(task, request, pixels) {
    if (this.stopped !== null) return Promise.reject(new Error(this.stopped));
    return new Promise((resolve, reject) => {
      const id = ++this.asked;
      this.pending = { id, resolve, reject, pixels, timer: null };
      this.worker.postMessage({ id, task, request });
    });
  }

  hear({ id, share, result, error }) {
    if (id !== this.pending?.id) return;
    if (error !== undefined) return this.settle("reject", new Error(error));
    if (share === undefined) return this.settle("resolve", result);
    const seconds = SECONDS + (SECONDS_PER_MEGAPIXEL * this.pending.pixels) / 1e6;
    this.pending.timer ??= setTimeout(() => this.stop(`stopped after ${Math.round(seconds)} seconds`), 1000 * seconds);
    this.report(share);
  }

  /** End what is under way, if anything is, with these words. */
  stop(words) {
    this.stopped = words;
    if (this.pending === null) return;
    this.worker.terminate();
    this.start();
    this.settle("reject", new Error(words));
  }

  settle(how, value) {
    const pending = this.pending;
    this.pending = null;
    clearTimeout(pending?.timer);
    pending?.[how](value);
  }
}
