// The device's keys: made here, kept by the browser, never to be read by anybody.
//
// ECDSA on P-256, not extractable: no script can copy one out, this one included. Browsers keep
// what a frame stores apart for every site that embeds it, so a key belongs to one platform.

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" };
const SIGNING = { name: "ECDSA", hash: "SHA-256" };
const STORE = "keys";
const OPENS_WITHIN_MS = 5000; // some browsers neither open nor refuse

/** A key pair and the name that the engine knows it by. */
export class DeviceKey {
  constructor({ pair, deviceId, spki }) {
    Object.assign(this, { pair, deviceId, spki });
  }

  static async make() {
    const pair = await crypto.subtle.generateKey(ALGORITHM, false, ["sign", "verify"]);
    const spki = new Uint8Array(await crypto.subtle.exportKey("spki", pair.publicKey));
    return new DeviceKey({ pair, spki, deviceId: await sha256Hex(spki) });
  }

  /** The signature of some bytes: r and s, 32 bytes each. */
  async sign(bytes) {
    return new Uint8Array(await crypto.subtle.sign(SIGNING, this.pair.privateKey, bytes));
  }
}

/** The learner's registered key in this browser; null where there is none. */
export function findKey(learnerId) {
  return load(learnerId);
}

/** A key that waits to be registered: the same one again if its registration broke off. */
export async function keyToRegister(learnerId) {
  const waiting = await load(`${learnerId}/new`);
  if (waiting !== null) return waiting;
  const made = await DeviceKey.make();
  await change((store) => store.put({ ...made }, `${learnerId}/new`));
  return made;
}

/** Keep a key that the engine has registered, in place of an earlier one. */
export async function keepKey(learnerId, key) {
  await change((store) => {
    store.put({ ...key }, learnerId);
    store.delete(`${learnerId}/new`);
  });
}

/** Forget a key that the engine did not want. */
export async function dropKeyToRegister(learnerId) {
  await change((store) => store.delete(`${learnerId}/new`));
}

export async function sha256Hex(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function sha256Base64(bytes) {
  return toBase64(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

export function toBase64(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

async function load(name) {
  const kept = await request("readonly", (store) => store.get(name));
  return kept === undefined ? null : new DeviceKey(kept);
}

function change(act) {
  return request("readwrite", act);
}

async function request(mode, act) {
  const database = await openDatabase();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const asked = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(asked?.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

function openDatabase() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("zhenxue", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onsuccess = () => resolve(opening.result);
    setTimeout(() => reject(new DOMException("no database", "TimeoutError")), OPENS_WITHIN_MS);
    opening.onerror = opening.onblocked = () => reject(opening.error);
  });
}
