// Whether the learner can see this frame: hidden, removed or covered it earns nothing.
//
// The engine takes credit away for time that no heartbeat covers, or whose heartbeats say that
// the frame was not to be seen; nothing said here adds any.

import { Refusal } from "./engine.js";

const EVERY_MS = 5000;
const ANSWERED_WITHIN_MS = 5000;
const LEAST_MS = 1100; // the engine takes one a second
const SEEN_SHARE = 0.5; // of the frame that must lie in the window
const LEAST_PIXEL_RATIO = 0.25;
const STEPS = [0, 0.25, 0.5, 0.75, 1];

/** CSS zoom of the page around us shows in nothing but this; browsers' own goes to 0.25. */
const isReadable = () => window.devicePixelRatio >= LEAST_PIXEL_RATIO;

export class Presence {
  constructor(engine, element) {
    this.engine = engine;
    this.inView = true;
    this.covered = null; // where the browser cannot tell
    this.timer = null;
    this.beatAt = -LEAST_MS;
    this.observe(element);
    document.addEventListener("visibilitychange", () => this.beat());
  }

  /** onLost is told when a heartbeat did not reach the engine. */
  start(sessionId, onLost) {
    this.stop();
    this.onLost = onLost;
    this.path = `/v1/sessions/${sessionId}/heartbeats`;
    this.timer = setInterval(() => this.beat(), EVERY_MS);
    this.beat();
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
  }

  get state() {
    const visible = document.visibilityState === "visible" && this.inView && isReadable();
    return { visible, covered: this.covered, position_s: null, rate: null, playing: null };
  }

  /** Say what is to be seen now; two changes at once are told as the second one, soon. */
  async beat() {
    if (this.timer === null) return;
    const wait = this.beatAt + LEAST_MS - performance.now();
    clearTimeout(this.soon);
    if (wait > 0) {
      this.soon = setTimeout(() => this.beat(), wait);
      return;
    }
    this.beatAt = performance.now();
    try {
      await this.engine.post(this.path, this.state, { withinMs: ANSWERED_WITHIN_MS });
    } catch (error) {
      // The next one comes soon; what a lost one costs, the engine decides.
      const reached = error instanceof Refusal && error.status < 500;
      if (!reached && this.timer !== null) this.onLost();
    }
  }

  observe(element) {
    const tracks = "isVisible" in (window.IntersectionObserverEntry?.prototype ?? {});
    const options = { threshold: STEPS };
    // Version 2 says whether anything of another page lies over us; it wants some delay.
    if (tracks) Object.assign(options, { trackVisibility: true, delay: 100 });
    const observer = new IntersectionObserver((entries) => {
      const last = entries[entries.length - 1];
      const before = `${this.inView} ${this.covered}`;
      this.inView = last.isIntersecting && last.intersectionRatio >= SEEN_SHARE;
      this.covered = tracks ? this.inView && !last.isVisible : null;
      if (before !== `${this.inView} ${this.covered}`) this.beat();
    }, options);
    observer.observe(element);
  }
}
