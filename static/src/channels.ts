/**
 * What page, net worker and node worker tell one another.
 *
 * Page and net worker are one build, so their messages are typed and not checked. The node worker's
 * come from Python as JSON text: they are checked.
 */

import * as v from "valibot";

import {
  Left,
  type BridgeAddress,
  type Change,
  type Failure,
  type State,
  type Welcome,
} from "./frames";
import type { Json } from "./json";
import type { Turned } from "./session";

export type PageToNet =
  | {
      readonly kind: "start";
      readonly socketUrl: string;
      readonly clientKey: string;
      readonly deviceKey: string;
      readonly token: string;
      readonly visible: boolean;
      /** Where this page's own build of the workers is: absolute, ending in a slash. */
      readonly runtime: string;
      /** The bridges that an earlier load of this tab knew, as it was told them; or empty. */
      readonly bridges: string;
      /** The browser has RTCPeerConnection. */
      readonly rtc: boolean;
    }
  | FromRtc
  /** The first paint is over: now a replica may boot. */
  | { readonly kind: "painted" }
  /** This device has crashed too often to hold a replica. */
  | { readonly kind: "barred" }
  | { readonly kind: "request"; readonly id: number; readonly payload: Json }
  | { readonly kind: "visible"; readonly visible: boolean }
  /** The network may have changed. */
  | { readonly kind: "probe" }
  /** A change did not apply to the page's copy. */
  | { readonly kind: "resync" }
  /** The page goes away, perhaps into the back/forward cache. */
  | { readonly kind: "leave" }
  /** It is back. */
  | { readonly kind: "return"; readonly visible: boolean }
  | { readonly kind: "close" };

/**
 * What the page is told of its peer connections, which can live nowhere else: `offer` makes one,
 * `answer` makes one that answers this offer, `accept` brings our offer's answer.
 */
export type ToRtc =
  | { readonly kind: "rtc"; readonly order: "offer" | "hangup"; readonly link: string }
  | {
      readonly kind: "rtc";
      readonly order: "answer" | "accept";
      readonly link: string;
      readonly sdp: string;
    };

/** What it answers: the channel (to be used by the worker only), our description, the end. */
export type FromRtc =
  | { readonly kind: "channel"; readonly link: string; readonly channel: Channel }
  | { readonly kind: "described"; readonly link: string; readonly sdp: string }
  | { readonly kind: "undone"; readonly link: string };

/** A port where the browser cannot give a data channel away. */
export type Channel = RTCDataChannel | MessagePort;

export type NetToPage =
  | ToRtc
  | { readonly kind: "welcome"; readonly welcome: Welcome; readonly another: boolean }
  | { readonly kind: "refused"; readonly code: string; readonly message: string }
  | { readonly kind: "status"; readonly status: FtwebStatus }
  | { readonly kind: "stream"; readonly frame: State | Change }
  | { readonly kind: "message"; readonly payload: Json }
  /** A provisional reply turned out otherwise. */
  | { readonly kind: "turned"; readonly turned: Turned }
  /** To be remembered for the next load of this tab. */
  | { readonly kind: "bridges"; readonly bridges: string }
  /** The replica crashed too often within this page. */
  | { readonly kind: "barred" }
  | {
      readonly kind: "result";
      readonly id: number;
      readonly payload: Json;
      readonly error: Failure | null;
    };

export type Role = "observer" | "learner" | "follower" | "candidate" | "leader";

/** What a person is told, in one word. */
export type Condition =
  "connected" | "provisional" | "no-bridge" | "taking-over" | "offline" | "no-quorum";

/** `globalThis.ftweb.status()`; docs/javascript-api.md tells what each means. */
export interface FtwebStatus {
  readonly state: Condition;
  /** The same as a sentence. */
  readonly text: string;
  readonly clientId: string | null;
  readonly deviceId: string | null;
  readonly nodeId: string | null;
  readonly role: Role;
  readonly hosting: boolean;
  readonly ready: boolean;
  readonly bootMilliseconds: number | null;
  readonly epoch: number;
  readonly term: number;
  readonly hostId: string | null;
  readonly successors: readonly string[];
  readonly bridge: string | null;
  readonly bridges: readonly string[];
  readonly quorum: boolean;
  readonly provisional: boolean;
  readonly pending: number;
  readonly participants: number;
  /** Open data channels to other tabs. */
  readonly channels: number;
  readonly error: Failure | null;
}

/** What a node needs to answer HTTP: the socket for it, and the proof of whose node it is. */
export interface HttpAccess {
  readonly url: string;
  readonly clientKey: string;
  readonly token: string;
}

/** To the node worker, as JSON text. */
export type NetToNode =
  | {
      readonly kind: "start";
      /** Absolute, ending in a slash. */
      readonly runtime: string;
      readonly bundleUrl: string;
      readonly bundle: string;
      readonly visible: boolean;
      readonly welcome: Welcome;
      readonly http: HttpAccess;
    }
  | { readonly kind: "frame"; readonly text: string }
  /** The main socket is open again, perhaps to another bridge. */
  | { readonly kind: "bridge"; readonly httpUrl: string }
  | { readonly kind: "visible"; readonly visible: boolean }
  | { readonly kind: "stop" }
  /** Its epoch has been replaced: end, and hand in what only it may know. */
  | { readonly kind: "over" }
  /** Whether there is a link to a bridge now. */
  | { readonly kind: "linked"; readonly bridge: boolean }
  /** Tabs that join here (joining.ts). */
  | {
      readonly kind: "wire_open";
      readonly link: string;
      readonly clientId: string;
      readonly deviceId: string;
      readonly presenter: boolean;
    }
  | { readonly kind: "wire_in"; readonly link: string; readonly text: string }
  | { readonly kind: "wire_closed"; readonly link: string; readonly lost: boolean }
  /** Bridges that were found: those who joined here go there. */
  | { readonly kind: "bridges"; readonly bridges: readonly BridgeAddress[] };

const count = v.pipe(v.number(), v.minValue(0));

const NodeStatus = v.object({
  kind: v.literal("status"),
  role: v.picklist(["observer", "learner", "follower", "candidate", "leader"]),
  epoch: count,
  term: count,
  leaderId: v.optional(v.nullable(v.string()), null),
  successors: v.optional(v.array(v.string()), []),
  hosting: v.boolean(),
  quorum: v.optional(v.boolean(), false),
  /** Where the node left the epochs in which it was before, the latest last. */
  left: v.optional(v.array(Left), []),
  /** Of a leader: a summary of its lineage, which only bridges look into. */
  history: v.optional(v.unknown()),
});

export const NodeToNet = v.variant("kind", [
  v.object({ kind: v.literal("pong") }),
  v.object({ kind: v.literal("up"), nodeId: v.string() }),
  v.object({ kind: v.literal("frame"), text: v.string() }),
  NodeStatus,
  v.object({ kind: v.literal("position"), left: Left }),
  v.object({
    kind: v.literal("begin"),
    clientId: v.string(),
    session: count,
    serial: count,
  }),
  v.object({ kind: v.literal("end") }),
  /** It has ended, and what it had to hand in was in the frames before. */
  v.object({ kind: v.literal("handed_in") }),
  v.object({ kind: v.literal("wire_out"), links: v.array(v.string()), text: v.string() }),
  v.object({ kind: v.literal("wire_close"), link: v.string(), code: count }),
  v.object({ kind: v.literal("failed"), stage: v.string(), message: v.string() }),
]);

export type NodeStatus = v.InferOutput<typeof NodeStatus>;
export type NodeToNet = v.InferOutput<typeof NodeToNet>;
