// The simulator's control API, as one acting person.

/** Calls `/_sim` as a person and listens to what is pushed to them. */
export class Api {
  #socket = null;
  #stopped = false;
  #wait = 250;

  constructor(as) {
    this.as = as;
  }

  async #json(path, options) {
    let response;
    try {
      response = await fetch(path, options);
    } catch {
      return { ok: false, error: "no_connection" };
    }
    try {
      const body = await response.json();
      return response.ok ? body : { ok: false, error: `http_${response.status}`, ...body };
    } catch {
      return { ok: false, error: `http_${response.status}` };
    }
  }

  /** Ask `/_sim/<path>` with query values. */
  get(path, query = {}) {
    return this.#json(`/_sim/${path}?${new URLSearchParams({ ...(this.as && { as: this.as }), ...query })}`);
  }

  /** Post JSON to `/_sim/<path>`. */
  post(path, body = {}) {
    return this.#json(`/_sim/${path}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ as: this.as, ...body }),
    });
  }

  /**
   * Keep a socket open until `stop`. `onPush(push)` gets every push; `onLink(open)` is told when the socket opens,
   * before which pushes may have been missed, or is lost.
   */
  listen(onPush, onLink) {
    const open = () => {
      if (this.#stopped) return;
      const scheme = location.protocol === "https:" ? "wss" : "ws";
      const socket = new WebSocket(`${scheme}://${location.host}/_sim/ws?as=${encodeURIComponent(this.as)}`);
      this.#socket = socket;
      socket.onopen = () => {
        if (this.#stopped) return;
        this.#wait = 250;
        onLink(true);
      };
      socket.onmessage = (event) => {
        if (!this.#stopped) onPush(JSON.parse(event.data));
      };
      socket.onclose = () => {
        if (this.#stopped) return;
        onLink(false);
        setTimeout(open, this.#wait);
        this.#wait = Math.min(this.#wait * 2, 5000);
      };
    };
    open();
  }

  /** Stop listening for good. */
  stop() {
    this.#stopped = true;
    this.#socket?.close();
  }
}
