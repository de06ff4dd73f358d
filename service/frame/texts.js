// What the learner reads: Chinese first, English beside it. Never an accusation, and learning
// always goes on.

export const TEXTS = {
  language: ["English", "中文"],
  cameraOff: ["摄像头已关闭", "Camera off"],
  cameraOn: ["摄像头使用中", "Camera on"],
  cameraLabel: ["使用的摄像头", "Camera"],
  cameraNumber: ["摄像头", "Camera"],

  notEmbeddedTitle: ["请从学习页面打开", "Open this from your lesson"],
  notEmbeddedText: [
    "这个页面只在培训平台的学习页面里使用。",
    "This page works only inside the lesson page of your training platform.",
  ],
  readyTitle: ["正在准备", "Getting ready"],
  readyText: ["等待学习页面开始。", "Waiting for the lesson page to begin."],
  connectingTitle: ["正在连接", "Connecting"],
  connectingText: ["请稍候。", "One moment."],
  waitingTitle: ["正在学习", "Your lesson is on"],
  waitingText: [
    "请保持这个小窗口可见。需要验证时会在这里提示您。",
    "Keep this small window in view. You will be asked here when a check is due.",
  ],
  lookTitle: ["请看镜头", "Look at the camera"],
  lookText: ["请坐正，面对镜头，一个人在画面里。", "Sit straight, face the camera, alone in the picture."],
  openingTitle: ["正在打开摄像头", "Opening the camera"],
  openingText: ["如果浏览器询问，请选择“允许”。", "If your browser asks, please choose “Allow”."],
  checkingTitle: ["正在确认", "Checking"],
  checkingText: ["请稍候，可以继续学习。", "One moment; you can go on learning."],
  slowText: [
    "网络较慢，照片还在发送。请不要关闭页面，可以继续学习。",
    "The network is slow and the pictures are on their way. Keep this page open; you can go on learning.",
  ],
  passTitle: ["已确认", "Confirmed"],
  passText: ["谢谢，请继续学习。", "Thank you, please go on."],
  retryTitle: ["请再试一次", "Please try again"],
  referTitle: ["转人工复核", "A person will look at it"],
  missedTitle: ["这次没有来得及", "Time ran out"],
  missedText: [
    "没有关系，请继续学习；下次提示时请及时验证。",
    "Please go on learning, and answer when you are asked next.",
  ],
  pausedTitle: ["验证已暂停", "Checks are paused"],
  pausedText: ["可以继续学习，暂停期间不计学时。恢复时间：", "You can go on learning; this time is not counted. Until "],
  callTitle: ["请等待工作人员联系", "An officer will contact you"],
  callText: ["请保持电话畅通，不需要在这里操作。", "Please keep your phone at hand; nothing to do here."],
  calledTitle: ["通话环节已结束", "The call is done"],
  calledText: ["请继续学习。", "Please go on."],
  codeTitle: ["请输入屏幕上的数字", "Type these digits"],
  codeText: ["这一步只确认您在场，不使用摄像头。", "This only shows that you are there; no camera is used."],
  codeLabel: ["在这里输入", "Type here"],
  overTitle: ["本次学习已结束", "This lesson is over"],
  overText: ["可以关闭这个页面了。", "You can close this page."],
  offlineTitle: ["网络断开了", "No connection"],
  offlineText: [
    "正在重新连接。断开期间不计学时。",
    "Trying to connect again. This time is not counted.",
  ],

  enrolTitle: ["登记这台设备", "Register this device"],
  enrolText: [
    "将打开摄像头拍几张照片，确认是您本人。以后这台设备就能用于学习验证。",
    "The camera takes a few pictures to see that it is you. This device can then be used for your lessons.",
  ],
  enrolPlainText: [
    "不使用摄像头。登记后这台设备就能用于学习验证。",
    "No camera is used. This device can then be used for your lessons.",
  ],
  enrolledTitle: ["设备已登记", "Device registered"],
  enrolledText: ["现在可以开始学习了。", "You can begin your lesson now."],
  unknownTitle: ["请先登记这台设备", "Register this device first"],
  unknownText: [
    "这个浏览器里没有您的设备密钥，或已失效。请在学习页面里登记。",
    "This browser has no valid key of yours. Please register it on the lesson page.",
  ],

  refusedTitle: ["摄像头未获允许", "The camera is not allowed"],
  refusedText: [
    "请点击地址栏旁的摄像头图标，选择“允许”，再点“重试”。",
    "Click the camera sign beside the address bar, choose “Allow”, then try again.",
  ],
  noneTitle: ["没有找到摄像头", "No camera was found"],
  noneText: ["请接上摄像头，或换一台有摄像头的设备。", "Connect a camera, or use a device that has one."],
  busyTitle: ["摄像头打不开", "The camera cannot be opened"],
  busyText: [
    "可能正被其他程序使用。请关闭它们，或选择另一个摄像头。",
    "Another program may be using it. Close that, or choose another camera.",
  ],
  failedTitle: ["暂时无法继续", "This cannot go on now"],
  failedText: ["请稍后重试；仍不行请联系培训平台。", "Please try again later, or ask the training platform."],
  spentTitle: ["需要重新进入", "Please enter again"],
  spentText: ["请刷新学习页面。", "Please reload the lesson page."],
  elsewhereTitle: ["已在别处打开", "Open elsewhere"],
  elsewhereText: [
    "验证已转到另一个页面。要在这里学习，请点下面的按钮。",
    "Checks have moved to another page. To learn here, press the button.",
  ],
  enteringText: ["如果一直停在这里，请刷新学习页面。", "If nothing happens, reload the lesson page."],
  unsafeTitle: ["浏览器不支持", "This browser will not do"],
  unsafeText: [
    "请使用较新的浏览器，并通过 https 打开；无痕模式下可能无法使用。",
    "Use a recent browser over https; private windows may not work.",
  ],

  begin: ["开始", "Begin"],
  here: ["在这里继续", "Continue here"],
  again: ["重试", "Try again"],
  now: ["现在拍", "Take it now"],
  send: ["提交", "Send"],
  left: ["剩余时间", "Time left"],
  seconds: ["秒", "s"],

  aboutTitle: ["会记录什么？", "What is recorded?"],
};

// Every line of what is recorded, in both languages.
export const ABOUT = [
  [
    "只在提示您验证时打开摄像头，拍 1–3 张照片，拍完立即关闭。",
    "The camera is on only while you are asked: one to three pictures, then it is off again.",
  ],
  ["不录音，不录屏，不读取您的其他文件。", "No sound, no screen, none of your files."],
  [
    "照片直接送到核验系统加密保存；培训平台看不到照片，只知道是否通过。",
    "Pictures go straight to the engine and are kept encrypted; the platform learns only the outcome.",
  ],
  ["每隔几秒记录这个小窗口是否可见。", "Every few seconds: whether this small window is in view."],
];

export const HINTS = {
  face_too_small: ["请离镜头近一点", "Move closer to the camera"],
  face_cut_off: ["请让整张脸都在画面里", "Keep your whole face in the picture"],
  too_dark: ["光线太暗，请开灯或面向窗户", "Too dark: switch on a light or face the window"],
  too_bright: ["光线太亮，请避开强光", "Too bright: turn away from strong light"],
  uneven_light: ["请让光线从正面照来", "Let the light come from the front"],
  low_contrast: ["请擦一擦镜头", "Wipe the lens"],
  blurred: ["请拿稳设备，保持不动", "Hold still"],
  noisy: ["光线不足，请调亮一些", "More light, please"],
  turned_away: ["请正对镜头", "Face the camera"],
  tilted: ["请把头摆正", "Hold your head upright"],
  eyes_closed: ["请睁开眼睛", "Open your eyes"],
  face_covered: ["请不要用手或口罩遮住脸", "Uncover your face"],
  uncertain_face: ["请正对镜头", "Face the camera"],
  background_face: ["请让后面的人或照片离开画面", "Nobody behind you, please"],
};

const KEPT_AS = "zhenxue-language";

/** The language that is shown; remembered in this browser where that is allowed. */
export class Language {
  constructor() {
    this.english = remembered() === "en";
  }

  switch() {
    this.english = !this.english;
    try {
      localStorage.setItem(KEPT_AS, this.english ? "en" : "zh");
    } catch {
      // Not remembered, then.
    }
  }

  get tag() {
    return this.english ? "en" : "zh-CN";
  }

  /** One of a pair; a name stands for the pair of that name. */
  of(pair) {
    const [chinese, english] = typeof pair === "string" ? TEXTS[pair] : pair;
    return this.english ? english : chinese;
  }
}

function remembered() {
  try {
    return localStorage.getItem(KEPT_AS);
  } catch {
    return null;
  }
}
