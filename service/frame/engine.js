// Requests to the engine, each signed with the device's key. service/device_keys.py says what is
// signed; the two have to agree to the byte.

import { sha256Hex, toBase64 } from "./keys.js";

const DOMAIN = "zhenxue/proof/v1";
const TIMEOUT_MS = 20_000;
const LEAST_BYTES_PER_MS = 2; // so that a thin network has time for a large body
const AGAIN_AFTER_MS = 1500;

/** What the engine refused, by its stable code. */
export class Refusal extends Error {
  constructor(problem, status) {
    super(problem.code ?? String(status));
    this.code = problem.code ?? "failed";
    this.status = status;
    this.retryAfterMs = 1000 * (problem.retry_after_s ?? 0);
  }
}

/** The engine could not be reached, or did not answer in time. */
export class Unreachable extends Error {}

export class Engine {
  /** serverTime: seconds since 1970 when the page was made. */
  constructor(serverTime) {
    this.secret = null; // a token, or a one-time code before there is any
    this.key = null;
    this.noteTime(serverTime);
  }

  /** Seconds since 1970 by the engine's clock: the device's own may be wrong. */
  get now() {
    return this.serverTime + (performance.now() - this.notedAt) / 1000;
  }

  get(path, how) {
    return this.json("GET", path, undefined, how);
  }

  post(path, body, how) {
    return this.json("POST", path, body, how);
  }

  /** Send something that must have one effect: again, once, if no reply came. */
  async postOnce(path, body, idempotencyKey) {
    const headers = idempotencyKey === undefined ? {} : { "Idempotency-Key": idempotencyKey };
    try {
      return await this.json("POST", path, body, { headers });
    } catch (error) {
      const again = error instanceof Unreachable || (error instanceof Refusal && error.status === 503);
      if (!again) throw error;
      await sleep(Math.max(AGAIN_AFTER_MS, error.retryAfterMs ?? 0));
      return this.json("POST", path, body, { headers });
    }
  }

  async json(method, path, body, how) {
    const response = await this.send(method, path, { body, ...how });
    return response.status === 204 ? null : reading(response.json());
  }

  /**
   * Send a request; Refusal where the engine says no. A proof that came too late is made anew.
   *
   * body: to be sent as JSON. part: bytes to be sent as they are, not signed. withinMs: how long to
   * wait for the reply to something small. signal: ends it, in place of that.
   */
  async send(method, path, how = {}) {
    let response = await this.sendSigned(method, path, how);
    if (response.ok) return response;
    let problem = await problemOf(response);
    if (problem.code === "proof_wrong") {
      response = await this.sendSigned(method, path, how);
      if (response.ok) return response;
      problem = await problemOf(response);
    }
    throw new Refusal(problem, response.status);
  }

  async sendSigned(method, path, { body, part, headers, signal, withinMs = TIMEOUT_MS }) {
    const bytes = body === undefined ? new Uint8Array() : bytesOf(body);
    const proven = {
      Authorization: `Bearer ${this.secret}`,
      "Zhenxue-Proof": await this.proof(method, path, bytes),
      ...(body === undefined ? {} : { "Content-Type": "application/json" }),
    };
    const request = {
      method,
      headers: { ...proven, ...headers },
      body: part ?? (body === undefined ? undefined : bytes),
      signal: signal ?? AbortSignal.timeout(withinMs + bytes.length / LEAST_BYTES_PER_MS),
    };
    const response = await reading(fetch(path, { ...QUIETLY, ...request }));
    this.noteTime(response.headers.get("Zhenxue-Time"));
    return response;
  }

  async proof(method, path, bytes) {
    const seconds = Math.floor(this.now);
    const secret = new TextEncoder().encode(this.secret);
    const digests = [await sha256Hex(secret), await sha256Hex(bytes)];
    const lines = [DOMAIN, method, path, String(seconds), ...digests];
    const text = new TextEncoder().encode(lines.map((line) => `${line}\n`).join(""));
    return `${seconds}.${toBase64(await this.key.sign(text))}`;
  }

  noteTime(seconds) {
    const noted = Number(seconds);
    if (seconds === null || !Number.isFinite(noted)) return;
    this.serverTime = noted;
    this.notedAt = performance.now();
  }
}

/** A body as it is sent and signed. */
export function bytesOf(body) {
  return new TextEncoder().encode(JSON.stringify(body));
}

export function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

const QUIETLY = { credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer" };

/** Whatever fails on the way is one thing to the learner: no connection. */
async function reading(promise) {
  try {
    return await promise;
  } catch (error) {
    throw new Unreachable(error.message);
  }
}

async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}
