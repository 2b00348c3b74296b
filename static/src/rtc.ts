/**
 * The page's peer connections, for the net worker: browsers allow them on a page only. Loaded when
 * the first one is wanted, after the page can do its work.
 *
 * 1. One connection has one data channel, agreed on beforehand (`negotiated`), so there is nothing
 *    to wait for. It is given to the worker in the moment it is made, since no browser lets it go
 *    later. Firefox does not let it go at all: there the page passes its messages on.
 * 2. No STUN and no server: this is one LAN. All candidates are then known within milliseconds,
 *    and travel inside the description; there is no trickling.
 * 3. That a connection has died is found out by the worker, whose heartbeats are quicker than the
 *    browser. Here only a definite end is told.
 */

import type { Channel, FromRtc, ToRtc } from "./channels";
import { CHANNEL_BACKLOG_BYTES, GATHER_MS } from "./timing";

export type Tell = (message: FromRtc, transfer: Transferable[]) => void;

export class PeerConnections {
  private readonly all = new Map<string, RTCPeerConnection>();

  constructor(private readonly tell: Tell) {}

  obey(order: ToRtc): void {
    const { link } = order;
    switch (order.order) {
      case "offer":
        void this.attempt(link, (made) => this.offer(link, made));
        break;
      case "answer":
        void this.attempt(link, (made) => this.answer(link, made, order.sdp));
        break;
      case "accept":
        void this.attempt(link, (made) =>
          made.setRemoteDescription({ type: "answer", sdp: order.sdp }),
        );
        break;
      case "hangup":
        this.end(link);
        break;
    }
  }

  /** The page goes away; an open connection would keep it out of the back/forward cache. */
  endAll(): void {
    for (const link of this.all.keys()) this.end(link);
  }

  private async attempt(
    link: string,
    act: (made: RTCPeerConnection) => Promise<void>,
  ): Promise<void> {
    try {
      await act(this.all.get(link) ?? this.make(link));
    } catch (error) {
      console.warn(`ftweb: no direct connection: ${String(error)}`);
      this.end(link);
    }
  }

  private make(link: string): RTCPeerConnection {
    const made = new RTCPeerConnection({ iceServers: [] });
    this.all.set(link, made);
    made.onconnectionstatechange = () => {
      if (made.connectionState === "failed" || made.connectionState === "closed") this.end(link);
    };
    const channel = made.createDataChannel("ftweb", { negotiated: true, id: 0 });
    try {
      this.give(link, channel, channel);
    } catch {
      const port = this.passOn(link, channel);
      this.give(link, port, port);
    }
    return made;
  }

  private give(link: string, channel: Channel, transferred: Transferable): void {
    this.tell({ kind: "channel", link, channel }, [transferred]);
  }

  /** Rule 1: a port that stands for the channel. */
  private passOn(link: string, channel: RTCDataChannel): MessagePort {
    const { port1, port2 } = new MessageChannel();
    channel.onmessage = (event: MessageEvent<unknown>) => port1.postMessage(event.data);
    channel.onclose = () => this.end(link);
    port1.onmessage = (event: MessageEvent<string>) => {
      if (channel.readyState !== "open") return;
      if (channel.bufferedAmount > CHANNEL_BACKLOG_BYTES) this.end(link);
      else channel.send(event.data);
    };
    return port2;
  }

  private async offer(link: string, made: RTCPeerConnection): Promise<void> {
    await made.setLocalDescription(await made.createOffer());
    await this.describe(link, made);
  }

  private async answer(link: string, made: RTCPeerConnection, sdp: string): Promise<void> {
    await made.setRemoteDescription({ type: "offer", sdp });
    await made.setLocalDescription(await made.createAnswer());
    await this.describe(link, made);
  }

  /** Tell our description once it holds all candidates (rule 2). */
  private async describe(link: string, made: RTCPeerConnection): Promise<void> {
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (made.iceGatheringState === "complete") resolve();
      };
      made.onicegatheringstatechange = look;
      setTimeout(resolve, GATHER_MS);
      look();
    });
    const sdp = made.localDescription?.sdp;
    if (sdp !== undefined) this.tell({ kind: "described", link, sdp }, []);
  }

  private end(link: string): void {
    const made = this.all.get(link);
    if (made === undefined) return;
    this.all.delete(link);
    made.onconnectionstatechange = made.onicegatheringstatechange = null;
    made.close();
    this.tell({ kind: "undone", link }, []);
  }
}
