// What the learner sees: one card with a sign, a sentence or two, and at most two big buttons.

import { ABOUT, HINTS } from "./texts.js";

const byId = (id) => document.getElementById(id);

export class View {
  constructor(language) {
    this.language = language;
    this.video = byId("preview");
    this.cameraIsOn = false;
    this.secondsLeft = null;
    this.shown = { state: "waiting", title: "readyTitle", text: "readyText" };
    byId("language").addEventListener("click", () => {
      language.switch();
      this.render();
    });
    byId("camera").addEventListener("change", (event) => this.shown.choose?.(event.target.value));
    byId("code-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.shown.submit?.(byId("typed").value);
    });
  }

  /**
   * Show a state.
   *
   * title, text: names of texts, or pairs of Chinese and English. hints: names of what to put
   * right. after: something appended to the text, as it is. code: to be typed. actions: {label,
   * act}. cameras, choose: to choose another one. preview: whether the camera's picture shows.
   */
  show(shown) {
    this.shown = shown;
    this.secondsLeft = null;
    byId("count").hidden = true;
    byId("typed").value = "";
    this.render();
  }

  /** Say whether the camera is on. */
  lamp(isOn) {
    this.cameraIsOn = isOn;
    this.render();
  }

  /** Show how many seconds are left before the picture. */
  count(seconds) {
    byId("count").hidden = false;
    byId("count").textContent = String(seconds);
  }

  /** Show how many seconds are left to answer; not read out every second. */
  left(seconds) {
    this.secondsLeft = seconds;
    this.renderLeft();
  }

  render() {
    const { language, shown } = this;
    const main = document.querySelector("main");
    document.documentElement.lang = language.tag;
    main.dataset.state = shown.state;
    this.video.hidden = !(shown.preview && this.cameraIsOn);
    write("title", language.of(shown.title));
    write("text", language.of(shown.text) + (shown.after?.(language.tag) ?? ""));
    fill("hints", (shown.hints ?? []).map((name) => language.of(HINTS[name])));
    write("language", language.of("language"));
    byId("language").lang = language.english ? "zh-CN" : "en";
    write("lamp", language.of(this.cameraIsOn ? "cameraOn" : "cameraOff"));
    byId("lamp").dataset.on = String(this.cameraIsOn);
    write("about-title", language.of("aboutTitle"));
    fill("about-list", ABOUT.map((line) => language.of(line)));
    this.renderLeft();
    this.renderCode();
    this.renderChoice();
    this.renderActions();
  }

  renderLeft() {
    const { language, secondsLeft } = this;
    byId("until").hidden = secondsLeft === null;
    write("until", `${language.of("left")} ${secondsLeft ?? ""} ${language.of("seconds")}`);
  }

  renderCode() {
    const { code } = this.shown;
    byId("code").hidden = code === undefined;
    byId("code-form").hidden = code === undefined;
    write("code", code ?? "");
    write("code-label", this.language.of("codeLabel"));
  }

  renderChoice() {
    const { cameras = [], chosen } = this.shown;
    byId("choice").hidden = cameras.length < 2;
    write("camera-label", this.language.of("cameraLabel"));
    const options = cameras.map((camera, index) => {
      const name = camera.label || `${this.language.of("cameraNumber")} ${index + 1}`;
      return new Option(name, camera.deviceId, false, camera.deviceId === chosen);
    });
    byId("camera").replaceChildren(...options);
  }

  renderActions() {
    const buttons = (this.shown.actions ?? []).map(({ label, act }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = this.language.of(label);
      button.addEventListener("click", act);
      return button;
    });
    byId("actions").replaceChildren(...buttons);
  }
}

function write(id, text) {
  // Only what changed: a live region is read out whenever it is written to.
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

function fill(id, lines) {
  const list = byId(id);
  list.hidden = lines.length === 0;
  const items = lines.map((line) => {
    const item = document.createElement("li");
    item.textContent = line;
    return item;
  });
  list.replaceChildren(...items);
}
