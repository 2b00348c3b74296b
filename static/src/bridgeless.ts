/**
 * With no bridge left: when to go over to a tab that relays, and when back to a bridge.
 *
 * 1. Where another tab hosts of whom the bridge has told, all is well. Where it has not, the bridge
 *    must show that it is there (PROBE_MS), or we join at that tab.
 * 2. While there is no bridge, whoever hosts looks for one all the time. Once the group goes
 *    through it, that host tells its guests where it is, and they follow.
 * 3. A bridge that was cut off may have begun an epoch of its own meanwhile: apart.ts.
 */

import type { Apart } from "./apart";
import type { NetToNode, NodeStatus } from "./channels";
import type { Clock } from "./clock";
import type { Link, Payload } from "./connection";
import { Dialer } from "./dialing";
import type { Status } from "./frames";
import { OWN_TAB, type Joining } from "./joining";
import { isAfter } from "./peers";
import type { Facts } from "./status";
import { isTab, type Bridges, type Target } from "./targets";
import { BRIDGE_QUIET_MS, PROBE_MS } from "./timing";

/** What the rest of the runtime knows and does. */
export interface Surroundings {
  readonly clock: Clock;
  readonly bridges: Bridges;
  readonly link: Link;
  readonly joining: Joining;
  readonly apart: Apart;
  /** The node in this tab. */
  readonly node: { readonly epoch: number; readonly livesOn: boolean; renew(): void };
  readonly known: () => Readonly<Facts>;
  readonly toNode: (message: NetToNode) => void;
  readonly received: (frame: Payload) => void;
  /** Ask for the whole state. */
  readonly resync: () => void;
}

export class Bridgeless {
  /** Looks for a bridge while there is none. */
  private readonly seeker: Dialer;
  /** The tab at which we have last sought to join. */
  private sought = "";

  constructor(private readonly around: Surroundings) {
    this.seeker = new Dialer(around.clock, {
      opened: (socket, target) => around.link.adopt(socket, target),
      failed: () => undefined,
    });
    around.bridges.add(() => {
      const { target } = around.joining;
      return target === undefined ? [] : [target];
    });
  }

  /** Somebody has let us in. */
  arrived(target: Target): void {
    this.seeker.stop();
    this.sought = isTab(target.name) ? target.name : "";
  }

  lost(): void {
    this.around.apart.over();
    this.sought = "";
  }

  /** We are at a bridge, and it speaks. */
  get bridgeIsThere(): boolean {
    const { link, known } = this.around;
    return link.connected && !isTab(known().via) && link.quiet < BRIDGE_QUIET_MS;
  }

  /** Our own node hosts, or does not any more. */
  hosting(node: NodeStatus | undefined): void {
    this.around.joining.hosts = node?.hosting === true ? [node.epoch, node.term] : null;
    this.reconsider();
  }

  /** Another tab may host now (rule 1). */
  reconsider(): void {
    const { clock, link, joining, known } = this.around;
    const { target, host } = joining;
    if (target === undefined || host === null) return;
    const { via, status } = known();
    if (!link.connected || isTab(via)) {
      if (target.name === this.sought) return;
      this.sought = target.name;
      link.seek();
      return;
    }
    if (status !== undefined && !isAfter(host, [status.epoch, status.term])) return;
    link.probe();
    const asked = clock.now();
    clock.after(PROBE_MS, () => {
      const silent = link.quiet >= clock.now() - asked;
      if (silent && link.connected && !isTab(known().via)) link.seek();
    });
  }

  /** Rule 2; asked now and then. */
  lookForBridge(): void {
    const { bridges, link, known } = this.around;
    const { via, status } = known();
    if (!link.connected || !isTab(via) || this.seeker.dialing) return;
    if (via === OWN_TAB || (status?.bridges.length ?? 0) > 0) this.seeker.dial(bridges.origins);
  }

  /** What a bridge says of another history counts for nothing (rule 3). */
  isForeign(frame: Payload): boolean {
    const { apart, known } = this.around;
    const { via, heard } = known();
    return !isTab(via) && !heard && apart.isForeign(frame);
  }

  /** Whoever is without a bridge says so, and comes over to one that stays apart; asked often. */
  stayTogether(): void {
    const { apart, known, node } = this.around;
    const { via, heard, status } = known();
    if (isTab(via)) {
      if (node.livesOn || (heard && status?.quorum === true)) apart.goesOn();
    } else if (heard && status !== undefined && !apart.holds) {
      this.follow(status.epoch);
    }
    const told = apart.givesUp();
    if (told !== undefined) this.comeOver(told);
  }

  /** What was not listened to at this bridge counts now, and all that came before it. */
  private comeOver(status: Status): void {
    this.follow(status.epoch);
    this.around.received(status);
    this.around.resync();
  }

  /** The bridge's history is ours; what was not listened to while we held counts now. */
  private follow(epoch: number): void {
    const { node, toNode } = this.around;
    if (epoch === 0 || node.epoch === 0 || epoch === node.epoch) return;
    if (epoch < node.epoch) node.renew();
    else toNode({ kind: "frame", text: JSON.stringify({ type: "enter", epoch }) });
  }

  /** At a bridge, with others still at our relay: send them here. */
  fetchGuests(status: Status): void {
    const { joining, known, toNode } = this.around;
    const { via, welcome } = known();
    if (via === undefined || isTab(via) || welcome === undefined || !joining.busy) return;
    if (status.host === null) return; // its replica has not been taken in yet
    const here = { node_id: welcome.bridge, urls: [via], clients: 0 };
    const bridges = status.bridges.length > 0 ? status.bridges : [here];
    toNode({ kind: "bridges", bridges });
  }
}
