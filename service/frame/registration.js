// The device becomes the learner's: a key is made, and the engine compares a few pictures.

import { GivenUp, takePictures } from "./capture.js";
import { Refusal, Unreachable } from "./engine.js";
import { dropKeyToRegister, keepKey, keyToRegister, toBase64 } from "./keys.js";

const PICTURES = 3;
const PATH = "/v1/frame/devices";

export class Registration {
  constructor({ engine, parent, view, camera }, { learnerId, code }) {
    Object.assign(this, { engine, parent, view, camera, learnerId, code });
    this.running = true;
  }

  stop() {
    this.running = false;
    this.camera.close();
  }

  /** Ask the engine, and not the page, whether pictures are wanted; then wait for the learner. */
  async start() {
    this.running = true;
    this.view.show({ state: "checking", title: "connectingTitle", text: "connectingText" });
    try {
      await this.prepare();
      if (this.running) this.offer();
    } catch (error) {
      if (this.running) this.failed(error, () => this.start());
    }
  }

  async prepare() {
    const key = await keyToRegister(this.learnerId);
    if (!this.running) return;
    Object.assign(this.engine, { secret: this.code, key });
    // False where an officer granted the learner another way.
    this.byFace = (await this.engine.get(PATH)).by_face;
  }

  offer() {
    this.view.show({
      state: "person",
      title: "enrolTitle",
      text: this.byFace ? "enrolText" : "enrolPlainText",
      actions: [{ label: "begin", act: () => this.run() }],
    });
    this.parent.tell("waiting", "register");
  }

  async run() {
    try {
      const frames = this.byFace ? await this.pictures() : [];
      this.view.show({ state: "checking", title: "checkingTitle", text: "connectingText" });
      await this.send(frames);
    } catch (error) {
      if (!(error instanceof GivenUp) && this.running) this.failed(error);
    }
  }

  pictures() {
    return takePictures({
      view: this.view,
      camera: this.camera,
      count: PICTURES,
      isWanted: () => this.running,
      onTrouble: (kind) => this.parent.tell("error", `camera_${kind}`),
    });
  }

  async send(pictures) {
    const key = await keyToRegister(this.learnerId);
    this.engine.secret = this.code;
    this.engine.key = key;
    const body = { public_key: toBase64(key.spki), frames: pictures.map(toBase64) };
    // The engine knows a registration again by its key and code.
    const reply = await this.engine.postOnce(PATH, body);
    if (reply.outcome === "pass") {
      await keepKey(this.learnerId, key);
      this.running = false;
      this.view.show({ state: "pass", title: "enrolledTitle", text: "enrolledText" });
    } else this.refused(reply);
    this.parent.tell(reply.outcome, "register");
  }

  refused(reply) {
    const retry = reply.outcome === "retry";
    this.view.show({
      state: retry ? "retry" : "refer",
      title: retry ? "retryTitle" : "failedTitle",
      text: [reply.text_zh, reply.text_en],
      hints: reply.quality,
      actions: retry ? [{ label: "again", act: () => this.run() }] : [],
    });
  }

  async failed(error, again = () => this.run()) {
    if (error instanceof DOMException) return this.unsafe();
    const code = error instanceof Refusal ? error.code : null;
    if (code === "device_taken") await dropKeyToRegister(this.learnerId);
    const spent = ["unauthenticated", "code_spent"].includes(code);
    this.running = !spent;
    const name = spent ? "spent" : error instanceof Unreachable ? "offline" : "failed";
    this.view.show({
      state: "trouble",
      title: `${name}Title`,
      text: name === "offline" ? "failedText" : `${name}Text`,
      actions: spent ? [] : [{ label: "again", act: again }],
    });
    this.parent.tell("error", spent ? "code_wanted" : name);
  }

  /** The browser keeps nothing for us: a private window, or frames of other sites are shut out. */
  unsafe() {
    this.running = false;
    this.view.show({ state: "trouble", title: "unsafeTitle", text: "unsafeText" });
    this.parent.tell("error", "browser");
  }
}
