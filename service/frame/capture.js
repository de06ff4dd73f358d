// A few pictures of the learner: camera on, count down, take, camera off; or what stood in the way.

import { CameraTrouble, cameras, chooseCamera, chosenCamera } from "./camera.js";
import { sleep } from "./engine.js";

const COUNT_FROM = 3;
const BETWEEN_MS = 250;

/** Taking was given up: another prompt came, or the time ran out. */
export class GivenUp extends Error {}

/**
 * Return so many pictures as JPEG bytes, asking the learner for whatever is missing.
 *
 * isWanted: says whether anybody still waits for them; GivenUp once nobody does. onTrouble: told
 * refused, none or busy.
 */
export async function takePictures({ view, camera, count, isWanted, onTrouble }) {
  for (;;) {
    try {
      return await attempt({ view, camera, count, isWanted });
    } catch (error) {
      if (!(error instanceof CameraTrouble)) throw error;
      requireWanted(isWanted);
      onTrouble(error.kind);
      await askForCamera(view, error.kind);
    } finally {
      camera.close();
    }
    requireWanted(isWanted);
  }
}

async function attempt({ view, camera, count, isWanted }) {
  view.show({ state: "look", title: "openingTitle", text: "openingText" });
  await camera.open();
  requireWanted(isWanted);
  view.show({ state: "look", title: "lookTitle", text: "lookText", preview: true });
  for (let second = COUNT_FROM; second > 0; second -= 1) {
    view.count(second);
    await sleep(1000);
    requireWanted(isWanted);
  }
  const pictures = [];
  while (pictures.length < count) {
    if (pictures.length > 0) await sleep(BETWEEN_MS);
    pictures.push(await camera.take());
  }
  return pictures;
}

async function askForCamera(view, kind) {
  const found = await cameras().catch(() => []);
  return new Promise((resolve) => {
    view.show({
      state: "trouble",
      title: `${kind}Title`,
      text: `${kind}Text`,
      cameras: found,
      chosen: chosenCamera(),
      choose(deviceId) {
        chooseCamera(deviceId);
        this.chosen = deviceId;
      },
      actions: [{ label: "again", act: resolve }],
    });
  });
}

function requireWanted(isWanted) {
  if (!isWanted()) throw new GivenUp();
}
