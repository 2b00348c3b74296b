// Tests drive the connection themselves, and have it send a stream of numbered votes.
import { connect } from "/ftweb/client.js";

const connection = await connect();
globalThis.connection = connection;

/** Send a vote every `interval` ms until stopped; all times are this machine's clock in ms. */
globalThis.votes = {
  next: 1,
  acknowledged: [], // [number, sent, acknowledged, term that the page knew of by then]
  refused: [], // [number, code, message]
  timer: null,

  cast() {
    // Far below the number of requests that may be pending.
    if (connection.status().pending >= 40) return;
    const number = this.next++;
    const sent = performance.timeOrigin + performance.now();
    connection.send({ type: "vote", n: number }).then(
      () => {
        const now = performance.timeOrigin + performance.now();
        this.acknowledged.push([number, sent, now, connection.status().term]);
      },
      (error) => this.refused.push([number, error.code ?? "?", String(error.message)]),
    );
  },
  start(interval) {
    this.stop();
    this.timer = setInterval(() => this.cast(), interval);
  },
  stop() {
    clearInterval(this.timer);
    this.timer = null;
  },
  /** Once every vote that was cast has been answered. */
  async settled() {
    while (this.acknowledged.length + this.refused.length < this.next - 1) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  },
  report() {
    const { acknowledged, refused, next } = this;
    return { clientId: connection.clientId, cast: next - 1, acknowledged, refused };
  },
};
