// The learner frame. Start here: the page that embeds us says which learner and which session, we
// ask the engine for everything else.

import { Camera } from "./camera.js";
import { Engine } from "./engine.js";
import { Parent } from "./parent.js";
import { Presence } from "./presence.js";
import { Registration } from "./registration.js";
import { Session } from "./session.js";
import { Language } from "./texts.js";
import { View } from "./view.js";

const ID = /^(?!\.+$)[A-Za-z0-9_.:-]{1,64}$/; // dots alone would lead elsewhere in a path
const CODE = /^zx_code_[A-Za-z0-9_-]{22}$/;

const { origins, serverTime } = document.documentElement.dataset;
const view = new View(new Language());
const engine = new Engine(Number(serverTime));
const parent = new Parent(origins.split(" ").filter(Boolean));
const camera = new Camera(view.video, (isOn) => view.lamp(isOn));
const parts = { engine, parent, view, camera };
parts.presence = new Presence(engine, document.querySelector("main"));

let activity = null;

/** What a command asks for; null where it is not of the form that was agreed. */
function activityOf(command) {
  const { learner_id: learnerId, session_id: sessionId, code } = command;
  if (!ID.test(learnerId) || !CODE.test(code)) return null;
  if (command.command === "register") {
    return new Registration(parts, { learnerId, code });
  }
  if (command.command === "session" && ID.test(sessionId)) {
    return new Session(parts, { learnerId, sessionId, code });
  }
  return null;
}

function act(command) {
  const next = activityOf(command);
  if (next === null) return parent.tell("error", "command_unknown");
  // Sent twice: the code is spent, and what it was for goes on.
  if (activity?.running && isSame(activity, next)) return;
  activity?.stop();
  activity = next;
  parent.sessionId = next.sessionId ?? null;
  activity.start();
}

function isSame(one, other) {
  const names = ["constructor", "learnerId", "sessionId", "code"];
  return names.every((name) => one[name] === other[name]);
}

function begin() {
  if (window.parent === window) {
    return view.show({ state: "trouble", title: "notEmbeddedTitle", text: "notEmbeddedText" });
  }
  if (!window.isSecureContext || !window.indexedDB) {
    view.show({ state: "trouble", title: "unsafeTitle", text: "unsafeText" });
    return parent.tell("error", "browser");
  }
  view.show({ state: "waiting", title: "readyTitle", text: "readyText" });
  parent.listen(act);
  parent.tell("ready");
}

begin();
