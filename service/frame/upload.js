// An answer with pictures on its way: announced, sent in parts, handed in.
//
// From the announcement on the engine waits for it, and what a thin or broken network did carry is
// not sent again.

import { Refusal, Unreachable, bytesOf, sleep } from "./engine.js";
import { sha256Base64 } from "./keys.js";

const AGAIN_AFTER_MS = 1000;
const ASK_WITHIN_MS = 8000;
const PROOF_GOOD_S = 45; // the engine takes one for a minute
const PART_TYPE = "application/offset+octet-stream";
const BROKEN_OFF = ["wrong_offset", "request_timeout"];

export class Upload {
  /** body: what `POST …/answer` would take. */
  constructor(engine, prompt, body) {
    Object.assign(this, { engine, body, bytes: bytesOf(body), key: crypto.randomUUID() });
    this.prompt = `/v1/prompts/${prompt.prompt_id}`;
    this.path = null;
    this.offset = 0;
    this.handed = null;
  }

  /** Send it, or whatever of it is missing; return the engine's reply. */
  async send() {
    try {
      if (this.path === null) await this.announce();
      await this.sendParts();
      return await this.handIn();
    } catch (error) {
      if (!isNoPlace(error)) throw error;
      this.path = null;
      return this.engine.postOnce(`${this.prompt}/answer`, this.body, this.key);
    }
  }

  async announce() {
    const { nonce } = this.body;
    const announced = { nonce, bytes: this.bytes.length, sha256: await sha256Base64(this.bytes) };
    const begun = await this.engine.postOnce(`${this.prompt}/uploads`, announced);
    this.path = `/v1/uploads/${begun.upload_id}`;
    this.offset = begun.offset;
    this.until = Date.parse(begun.expires_at) / 1000;
  }

  async sendParts() {
    while (this.offset < this.bytes.length) {
      try {
        if (this.isUncertain) this.offset = await this.arrived();
        this.isUncertain = true;
        this.offset = await this.sendRest();
        this.isUncertain = false;
      } catch (error) {
        if (!isPassing(error) || this.engine.now > this.until) throw error;
        await sleep(AGAIN_AFTER_MS);
      }
    }
  }

  /** Ask how many bytes have arrived. */
  async arrived() {
    const response = await this.engine.send("HEAD", this.path, { withinMs: ASK_WITHIN_MS });
    return offsetOf(response);
  }

  async sendRest() {
    const part = this.bytes.subarray(this.offset);
    const headers = { "Content-Type": PART_TYPE, "Upload-Offset": String(this.offset) };
    return offsetOf(await this.engine.send("PATCH", this.path, { part, headers }));
  }

  /** The device signs the whole answer, as if it were sent at once. */
  async handIn() {
    const { engine } = this;
    // The very same again, as long as it is taken: then it has one effect, and one reply.
    if (this.handed === null || engine.now > this.handedAt + PROOF_GOOD_S) {
      this.handed = { proof: await engine.proof("POST", `${this.prompt}/answer`, this.bytes) };
      this.handedAt = engine.now;
    }
    return engine.postOnce(`${this.path}/answer`, this.handed, this.key);
  }
}

const offsetOf = (response) => Number(response.headers.get("Upload-Offset"));

const isPassing = (error) =>
  error instanceof Unreachable ||
  (error instanceof Refusal && (error.status >= 500 || BROKEN_OFF.includes(error.code)));

/** No room for parts, or the engine was started anew and forgot them. */
const isNoPlace = (error) =>
  error instanceof Refusal && (error.status === 404 || error.code === "too_many_uploads");
