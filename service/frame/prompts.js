// How prompts come: told by the engine the moment they go out, or asked for where that fails.

import { Refusal, sleep } from "./engine.js";

const ASK_EVERY_MS = 3000;
const ANSWERED_WITHIN_MS = 5000;
const ASKS_BEFORE_STREAM = 5; // then the stream is tried again
const SILENT_MS = 40_000; // the engine says something every 15 s

export class PromptFeed {
  /** tell: {prompted(prompt or null), session({phase, paused_until}), over(), shutOut(), lost(), back()}. */
  constructor(engine, sessionId, tell) {
    Object.assign(this, { engine, sessionId, tell, running: true, connected: true });
    this.doubted = false;
  }

  stop() {
    this.running = false;
    this.abort?.abort();
  }

  /** Something else did not reach the engine: ask now, not when the stream was silent for long. */
  doubt() {
    this.doubted = true;
    this.abort?.abort();
  }

  async run() {
    while (this.running) {
      try {
        await this.follow();
      } catch (error) {
        if (!this.doubted && this.isOver(error)) return;
      }
      for (let asked = 0; asked < ASKS_BEFORE_STREAM && this.running; asked += 1) {
        if (await this.ask()) return;
        await sleep(ASK_EVERY_MS);
      }
    }
  }

  /** Read the stream until it ends or falls silent. */
  async follow() {
    this.doubted = false;
    this.abort = new AbortController();
    const silence = new Alarm(SILENT_MS, () => this.doubt());
    try {
      const path = `/v1/sessions/${this.sessionId}/events`;
      const response = await this.engine.send("GET", path, { signal: this.abort.signal });
      this.reached();
      for await (const { event, data } of eventsOf(response.body, () => silence.again())) {
        if (event === "session") this.tell.session(data);
        else if (event === "prompt" || event === "prompt_resolved") this.tell.prompted(data.prompt);
        else if (event === "end") return this.end();
        else if (event === "stream_end" && data.reason === "replaced") return this.shutOut();
      }
    } finally {
      silence.off();
      this.abort.abort();
    }
  }

  /** Ask once; say whether the session is over. */
  async ask() {
    try {
      const path = `/v1/sessions/${this.sessionId}`;
      const within = { withinMs: ANSWERED_WITHIN_MS };
      const { prompt } = await this.engine.get(`${path}/prompt`, within);
      this.reached();
      this.tell.prompted(prompt);
      if (prompt === null) {
        const { phase, paused_until } = await this.engine.get(path, within);
        this.tell.session({ phase, paused_until: paused_until ?? null });
      }
    } catch (error) {
      return this.isOver(error);
    }
    return !this.running;
  }

  isOver(error) {
    if (!this.running) return true;
    if (error instanceof Refusal && error.code === "session_over") {
      this.end();
      return true;
    }
    if (error instanceof Refusal && error.code === "unauthenticated") {
      this.shutOut();
      return true;
    }
    // A gateway that cannot reach the engine is no answer of the engine's.
    const reached = error instanceof Refusal && error.status < 500;
    if (!reached && this.connected) {
      this.connected = false;
      this.tell.lost();
    }
    return false;
  }

  reached() {
    const wasAway = !this.connected;
    this.connected = true;
    if (wasAway) this.tell.back();
  }

  /** Another page follows the session now, or we may not any more. */
  shutOut() {
    this.running = false;
    this.tell.shutOut();
  }

  end() {
    this.running = false;
    this.tell.over();
  }
}

/** Yield the events of a text/event-stream body; onBytes is told whenever anything came. */
async function* eventsOf(body, onBytes) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onBytes();
    buffer += value;
    const blocks = buffer.split("\n\n");
    buffer = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => fieldOf(line)));
      if (fields.data) yield { event: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

function fieldOf(line) {
  const colon = line.indexOf(":");
  return [line.slice(0, colon), line.slice(colon + 1).trimStart()];
}

class Alarm {
  constructor(milliseconds, ring) {
    Object.assign(this, { milliseconds, ring });
    this.again();
  }

  again() {
    this.off();
    this.timer = setTimeout(this.ring, this.milliseconds);
  }

  off() {
    clearTimeout(this.timer);
  }
}
