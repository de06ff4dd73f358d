// One session: wait, answer what is asked, say what came of it; all of it by the engine's word.

import { GivenUp, takePictures } from "./capture.js";
import { Refusal, Unreachable, sleep } from "./engine.js";
import { findKey, toBase64 } from "./keys.js";
import { PromptFeed } from "./prompts.js";
import { Upload } from "./upload.js";

const PICTURES = 2;
const RETRY_AFTER_S = 6; // time to read what to put right
const SHOWN_MS = 4000;
const SLOW_MS = 8000;
const TOO_LATE = ["deadline_passed", "prompt_already_resolved", "wrong_nonce", "session_paused"];

export class Session {
  constructor({ engine, parent, view, camera, presence }, { learnerId, sessionId, code }) {
    Object.assign(this, { engine, parent, view, camera, presence, learnerId, sessionId, code });
    this.running = true;
    this.prompt = null; // what waits for an answer
    this.sending = false;
    this.pausedUntil = null;
  }

  stop() {
    this.running = false;
    this.prompt = null;
    this.feed?.stop();
    this.presence.stop();
    this.camera.close();
    clearInterval(this.ticking);
  }

  async start() {
    this.running = true;
    this.view.show({ state: "checking", title: "connectingTitle", text: "connectingText" });
    try {
      await this.enter();
    } catch (error) {
      if (this.running) this.notEntered(error);
      return;
    }
    if (!this.running) return;
    this.presence.start(this.sessionId, () => this.feed.doubt());
    this.feed = new PromptFeed(this.engine, this.sessionId, this);
    this.ticking = setInterval(() => this.tick(), 1000);
    this.rest();
    this.feed.run();
  }

  /** Exchange the one-time code for a token that opens nothing without this device's key. */
  async enter() {
    this.engine.key = await findKey(this.learnerId);
    if (this.engine.key === null) throw new Refusal({ code: "device_unknown" }, 0);
    this.engine.secret = this.code;
    const path = `/v1/frame/sessions/${this.sessionId}/token`;
    const { token } = await this.engine.post(path, { device_id: this.engine.key.deviceId });
    this.engine.secret = token;
  }

  notEntered(error) {
    this.running = false;
    const code = error instanceof Refusal ? error.code : null;
    if (code === "session_over") return this.over();
    const reason = ENTRY_TROUBLE[code] ?? (error instanceof DOMException ? "browser" : nameOf(error));
    const name = { device_unknown: "unknown", code_wanted: "spent", browser: "unsafe" }[reason];
    this.view.show({
      state: reason === "device_unknown" ? "person" : "trouble",
      title: `${name ?? reason}Title`,
      text: name ? `${name}Text` : "failedText",
      actions: name ? [] : [{ label: "again", act: () => this.start() }],
    });
    this.parent.tell("error", reason);
  }

  // --- what the feed tells ---------------------------------------------------------------------

  prompted(prompt) {
    if (this.sending) return; // the reply to the answer says what comes next
    if (prompt === null) {
      if (this.prompt?.kind === "officer_call") this.called();
      else if (this.prompt !== null) this.missed();
      return;
    }
    if (this.prompt?.nonce === prompt.nonce) return;
    this.ask(prompt);
  }

  session({ phase, paused_until: pausedUntil }) {
    if (phase === "closed" || phase === "abandoned") return this.feed.end();
    const until = pausedUntil === null ? null : Date.parse(pausedUntil);
    if (until === this.pausedUntil) return;
    this.pausedUntil = until;
    if (this.prompt === null) this.rest();
  }

  lost() {
    if (this.sending) return; // nothing else gets through a thin network meanwhile
    if (this.prompt === null) this.view.show(OFFLINE);
    this.parent.tell("error", "offline");
  }

  back() {
    if (this.prompt === null) this.rest();
  }

  over() {
    this.stop();
    this.view.show({ state: "over", title: "overTitle", text: "overText" });
    this.parent.tell("over");
  }

  shutOut() {
    this.stop();
    const actions = [{ label: "here", act: () => this.goOnHere() }];
    this.view.show({ state: "trouble", title: "elsewhereTitle", text: "elsewhereText", actions });
    this.parent.tell("error", "elsewhere");
  }

  /** Only when the learner wants it: two pages that ask by themselves would do so for ever. */
  goOnHere() {
    this.view.show({ state: "checking", title: "connectingTitle", text: "enteringText" });
    this.parent.tell("error", "code_wanted");
  }

  // --- one prompt ------------------------------------------------------------------------------

  ask(prompt, told = true) {
    this.prompt = prompt;
    if (told) this.parent.tell("prompt_open", prompt.kind);
    if (prompt.kind === "typed_code") this.askForCode(prompt);
    else if (prompt.kind === "officer_call") {
      this.view.show({ state: "person", title: "callTitle", text: "callText" });
    } else this.answerWithPictures(prompt);
    this.tick();
  }

  async answerWithPictures(prompt) {
    try {
      const pictures = await takePictures({
        view: this.view,
        camera: this.camera,
        count: PICTURES,
        isWanted: () => this.waitsFor(prompt),
        onTrouble: (kind) => this.parent.tell("error", `camera_${kind}`),
      });
      const body = { nonce: prompt.nonce, frames: pictures.map(toBase64) };
      const upload = new Upload(this.engine, prompt, body);
      await this.answer(() => upload.send());
    } catch (error) {
      if (error instanceof GivenUp) return;
      const actions = [{ label: "again", act: () => this.answerWithPictures(prompt) }];
      this.view.show({ ...FAILED, actions });
      this.parent.tell("error", "failed");
    }
  }

  askForCode(prompt, text = "codeText") {
    const submit = (typed) => {
      if (typed.trim() && this.waitsFor(prompt)) this.answerTyped(prompt, typed);
    };
    this.view.show({
      state: "code",
      title: "codeTitle",
      text,
      code: prompt.code,
      submit,
      actions: [{ label: "send", act: () => submit(document.getElementById("typed").value) }],
    });
  }

  answerTyped(prompt, typed) {
    const path = `/v1/prompts/${prompt.prompt_id}/answer`;
    const key = crypto.randomUUID();
    return this.answer(() => this.engine.postOnce(path, { nonce: prompt.nonce, typed }, key));
  }

  /** Wait for what comes of an answer that is sent; the very same again if the learner wants to. */
  async answer(send) {
    this.sending = true;
    this.view.show({ state: "checking", title: "checkingTitle", text: "checkingText" });
    const slow = setTimeout(() => this.running && this.view.show(SLOW), SLOW_MS);
    try {
      const reply = await send();
      this.sending = false;
      if (this.running) this.judged(reply);
    } catch (error) {
      this.sending = false;
      if (this.running) this.notJudged(error, () => this.answer(send));
    } finally {
      clearTimeout(slow);
    }
  }

  judged(reply) {
    this.prompt = reply.prompt;
    this.parent.tell(reply.answer, reply.reason);
    if (reply.answer === "retry" && reply.prompt !== null) return this.retry(reply);
    const pass = reply.answer === "pass";
    this.view.show({
      state: pass ? "pass" : "refer",
      title: pass ? "passTitle" : reply.answer === "refer" ? "referTitle" : "missedTitle",
      text: pass ? "passText" : [reply.text_zh, reply.text_en],
    });
    this.restSoon();
  }

  async retry(reply) {
    const { prompt } = reply;
    const text = [reply.text_zh, reply.text_en];
    if (prompt.kind === "typed_code") return this.askForCode(prompt, text);
    const now = new Promise((resolve) => {
      const actions = [{ label: "now", act: resolve }];
      this.view.show({ state: "retry", title: "retryTitle", text, hints: reply.quality, actions });
    });
    await Promise.race([now, sleep(1000 * RETRY_AFTER_S)]);
    if (this.waitsFor(prompt)) this.ask(prompt, false);
  }

  notJudged(error, again) {
    const code = error instanceof Refusal ? error.code : null;
    if (code === "session_over") return this.over();
    if (code === "unauthenticated") return this.shutOut();
    if (TOO_LATE.includes(code)) return this.missed();
    const name = nameOf(error);
    const actions = [{ label: "again", act: again }];
    this.view.show({ state: "trouble", title: `${name}Title`, text: "failedText", actions });
    this.parent.tell("error", name);
  }

  missed() {
    this.prompt = null;
    this.camera.close();
    this.view.show({ state: "refer", title: "missedTitle", text: "missedText" });
    this.restSoon();
  }

  /** The officer recorded the call, or its time is up; what was found is not told here. */
  called() {
    this.prompt = null;
    this.view.show({ state: "person", title: "calledTitle", text: "calledText" });
    this.restSoon();
  }

  waitsFor(prompt) {
    return this.running && this.prompt?.nonce === prompt.nonce;
  }

  // --- between prompts -------------------------------------------------------------------------

  rest() {
    if (!this.running) return;
    if (this.feed?.connected === false) return this.view.show(OFFLINE);
    if (this.isPaused) {
      const after = (tag) => new Date(this.pausedUntil).toLocaleTimeString(tag, CLOCK);
      this.view.show({ state: "paused", title: "pausedTitle", text: "pausedText", after });
      this.parent.tell("paused");
    } else {
      this.view.show({ state: "waiting", title: "waitingTitle", text: "waitingText" });
      this.parent.tell("waiting");
    }
  }

  async restSoon() {
    await sleep(SHOWN_MS);
    if (this.running && this.prompt === null && !this.sending) this.rest();
  }

  get isPaused() {
    return this.pausedUntil !== null && this.pausedUntil / 1000 > this.engine.now;
  }

  tick() {
    if (this.prompt !== null && !this.sending) {
      const left = Math.ceil(Date.parse(this.prompt.closes_at) / 1000 - this.engine.now);
      if (left > 0) this.view.left(left);
      else if (this.prompt.kind === "officer_call") this.called();
      else this.missed();
    } else if (this.pausedUntil !== null && !this.isPaused) {
      this.pausedUntil = null;
      this.rest();
    }
  }
}

/** What the platform is told where a session cannot be entered. */
const ENTRY_TROUBLE = {
  device_unknown: "device_unknown",
  proof_wrong: "device_unknown",
  code_spent: "code_wanted",
  unauthenticated: "code_wanted",
  unknown_subject: "code_wanted",
};

const nameOf = (error) => (error instanceof Unreachable ? "offline" : "failed");

const CLOCK = { hour: "2-digit", minute: "2-digit" };
const OFFLINE = { state: "trouble", title: "offlineTitle", text: "offlineText" };
const SLOW = { state: "checking", title: "checkingTitle", text: "slowText" };
const FAILED = { state: "trouble", title: "failedTitle", text: "failedText" };
