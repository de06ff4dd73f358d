// The camera: opened when the learner is asked, closed as soon as the pictures are taken.

const WIDTH = 640;
const HEIGHT = 480;
const LARGEST_BYTES = 40 * 1024;
const OPENS_WITHIN_MS = 20_000; // time to find the browser's question and answer it
const KEPT_AS = "zhenxue-camera";

/** Why there is no picture: refused, none, or busy. */
export class CameraTrouble extends Error {
  constructor(kind) {
    super(kind);
    this.kind = kind;
  }
}

export class Camera {
  /** onChange is told whether the camera is on. */
  constructor(video, onChange) {
    this.video = video;
    this.onChange = onChange;
    this.stream = null;
  }

  async open() {
    this.close();
    try {
      this.stream = await openWithin(OPENS_WITHIN_MS);
      this.video.srcObject = this.stream;
      this.onChange(true);
      await within(OPENS_WITHIN_MS, this.video.play());
    } catch (error) {
      this.close();
      throw troubleOf(error);
    }
  }

  close() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.srcObject = null;
    this.onChange(false);
  }

  /** One picture as JPEG bytes, 640 × 480, at most 40 KiB. */
  async take() {
    // Unplugged meanwhile, or nothing came of it yet.
    if (!this.stream?.active || this.video.videoWidth === 0) throw new CameraTrouble("busy");
    const canvas = document.createElement("canvas");
    canvas.width = WIDTH;
    canvas.height = HEIGHT;
    try {
      drawCovering(canvas, this.video);
    } catch (error) {
      throw troubleOf(error);
    }
    for (let quality = 0.9; ; quality -= 0.1) {
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
      if (blob === null) throw new CameraTrouble("busy");
      if (blob.size <= LARGEST_BYTES || quality < 0.25) {
        return new Uint8Array(await blob.arrayBuffer());
      }
    }
  }
}

/** The cameras there are; their names only once one was allowed. */
export async function cameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices.filter((device) => device.kind === "videoinput" && device.deviceId !== "");
}

export function chosenCamera() {
  try {
    return localStorage.getItem(KEPT_AS);
  } catch {
    return null;
  }
}

export function chooseCamera(deviceId) {
  try {
    localStorage.setItem(KEPT_AS, deviceId);
  } catch {
    // Chosen again next time, then.
  }
}

async function openWithin(milliseconds) {
  if (navigator.mediaDevices === undefined) throw new CameraTrouble("refused");
  const wanted = chosenCamera();
  const video = {
    width: { ideal: WIDTH },
    height: { ideal: HEIGHT },
    ...(wanted ? { deviceId: { ideal: wanted } } : { facingMode: "user" }),
  };
  const opening = navigator.mediaDevices.getUserMedia({ video, audio: false });
  try {
    return await within(milliseconds, opening);
  } catch (error) {
    // Allowed after we gave up: nobody waits for it any more, so it must not stay on.
    opening.then((stream) => stream.getTracks().forEach((track) => track.stop()), () => {});
    throw error;
  }
}

function within(milliseconds, promise) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new CameraTrouble("busy")), milliseconds);
  });
  return Promise.race([promise, late]);
}

function troubleOf(error) {
  if (error instanceof CameraTrouble) return error;
  if (["NotAllowedError", "SecurityError"].includes(error.name)) return new CameraTrouble("refused");
  if (["NotFoundError", "OverconstrainedError"].includes(error.name)) return new CameraTrouble("none");
  return new CameraTrouble("busy");
}

/** Fill the canvas from the middle of the picture, whatever shape the camera has. */
function drawCovering(canvas, video) {
  const scale = Math.max(WIDTH / video.videoWidth, HEIGHT / video.videoHeight);
  const width = WIDTH / scale;
  const height = HEIGHT / scale;
  const left = (video.videoWidth - width) / 2;
  const top = (video.videoHeight - height) / 2;
  canvas.getContext("2d").drawImage(video, left, top, width, height, 0, 0, WIDTH, HEIGHT);
}
