// The page around us: a training platform's, which we tell as little as we can.
//
// It hears what happened and a coarse reason; never a picture, a code, a nonce or a token. It is
// heard only if its origin is one that the platform registered, and only if it is our parent.

export class Parent {
  constructor(origins) {
    this.origins = origins;
    this.sessionId = null;
  }

  /** Hand every command of the parent's to act; its fields are checked where they are used. */
  listen(act) {
    window.addEventListener("message", (event) => {
      if (event.source !== window.parent || window.parent === window) return;
      if (!this.origins.includes(event.origin)) return;
      if (event.data?.type !== "zhenxue" || typeof event.data.command !== "string") return;
      this.origins = [event.origin]; // nobody else is told anything from now on
      act(event.data);
    });
  }

  tell(event, reason = null) {
    if (window.parent === window) return;
    const message = { type: "zhenxue", event, session_id: this.sessionId, reason };
    for (const origin of this.addressed()) window.parent.postMessage(message, origin);
  }

  addressed() {
    // Where a browser says who embeds us, the others need not be tried.
    const embedding = window.location.ancestorOrigins?.[0];
    return embedding === undefined ? this.origins : this.origins.filter((each) => each === embedding);
  }
}
