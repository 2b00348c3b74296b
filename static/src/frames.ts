/**
 * The frames of protocol version 1 that a client sends and receives (docs/protocol.md).
 *
 * What comes off the wire is unknown until `decode` has checked it. A field left out has its
 * default, unknown fields are ignored. Frames for the node in this tab are not looked into here:
 * `forNode` names their types, Python checks them.
 */

import * as v from "valibot";

import { FrameError } from "./errors";
import type { Json } from "./json";

export const PROTOCOL_VERSION = 1;

const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const positive = v.pipe(v.number(), v.minValue(0));
/** Checked by JSON.parse already; null where it was left out. */
const json = v.optional(v.unknown(), null) as unknown as v.GenericSchema<unknown, Json>;

const Failure = v.object({ code: v.string(), message: v.string() });

const Limits = v.object({
  frame_bytes: count,
  payload_bytes: count,
  json_depth: count,
  json_key_chars: count,
  pending_requests: count,
  ping_seconds: positive,
  handler_seconds: positive,
});

const Welcome = v.object({
  type: v.literal("welcome"),
  version: count,
  client_id: v.string(),
  device_id: v.string(),
  presenter: v.boolean(),
  bridge: v.string(),
  name: v.string(),
  guid: v.string(),
  bundle: v.string(),
  runtime: v.string(),
  join_url: v.string(),
  local: v.boolean(),
  limits: Limits,
});

const ErrorFrame = v.object({
  type: v.literal("error"),
  code: v.string(),
  message: v.string(),
  fatal: v.optional(v.boolean(), true),
});

const Ping = v.object({
  type: v.literal("ping"),
  n: v.pipe(v.number(), v.safeInteger()),
  rtt: v.optional(v.number(), 0),
});

const Pong = v.object({ type: v.literal("pong"), n: v.pipe(v.number(), v.safeInteger()) });

const Session = v.object({ type: v.literal("session"), session: count });

const Reply = v.object({
  type: v.literal("reply"),
  serial: count,
  payload: json,
  error: v.optional(v.nullable(Failure), null),
  provisional: v.optional(v.boolean(), false),
});

const Outcome = v.object({
  type: v.literal("outcome"),
  index: count,
  serial: count,
  payload: json,
  error: v.optional(v.nullable(Failure), null),
});

const Message = v.object({
  type: v.literal("message"),
  index: count,
  position: count,
  payload: json,
});

const State = v.object({ type: v.literal("state"), epoch: count, index: count, value: json });

const Change = v.object({
  type: v.literal("change"),
  epoch: count,
  after: count,
  index: count,
  patch: v.array(v.record(v.string(), json)),
});

const BridgeAddress = v.object({
  node_id: v.string(),
  urls: v.array(v.string()),
  clients: v.optional(count, 0),
});

const Status = v.object({
  type: v.literal("status"),
  epoch: count,
  term: count,
  host: v.nullable(v.string()),
  successors: v.array(v.string()),
  quorum: v.boolean(),
  participants: count,
  bridges: v.optional(v.array(BridgeAddress), []),
  provisional: v.optional(v.boolean(), false),
});

const Source = v.object({
  client_id: v.string(),
  device_id: v.string(),
  presenter: v.optional(v.boolean(), false),
});

const Signal = v.object({
  type: v.literal("signal"),
  to: v.string(),
  link: v.string(),
  kind: v.picklist(["offer", "answer", "refuse"]),
  sdp: v.optional(v.string(), ""),
  source: v.optional(v.nullable(Source), null),
  node_id: v.optional(v.nullable(v.string()), null),
});

/** Where a node was in the log of an epoch that it has left for good. */
export const Left = v.object({
  node: v.string(),
  epoch: count,
  term: count,
  index: count,
  /** Of the last configuration in it. */
  voters: v.optional(v.array(v.string()), []),
});
export type Left = v.InferOutput<typeof Left>;

const Received = v.variant("type", [
  Welcome,
  ErrorFrame,
  Ping,
  Pong,
  Session,
  Reply,
  Outcome,
  Message,
  State,
  Change,
  Status,
  Signal,
]);

export type Failure = v.InferOutput<typeof Failure>;
export type Limits = v.InferOutput<typeof Limits>;
export type Welcome = v.InferOutput<typeof Welcome>;
export type ErrorFrame = v.InferOutput<typeof ErrorFrame>;
export type Reply = v.InferOutput<typeof Reply>;
export type Outcome = v.InferOutput<typeof Outcome>;
export type BridgeAddress = v.InferOutput<typeof BridgeAddress>;
export type Message = v.InferOutput<typeof Message>;
export type State = v.InferOutput<typeof State>;
export type Change = v.InferOutput<typeof Change>;
export type Status = v.InferOutput<typeof Status>;
export type Source = v.InferOutput<typeof Source>;
export type Signal = v.InferOutput<typeof Signal>;
/** What a client receives. */
export type Received = v.InferOutput<typeof Received>;

export interface RequestId {
  readonly client_id: string;
  readonly session: number;
  readonly serial: number;
}

export interface Hello {
  readonly type: "hello";
  readonly version: number;
  readonly client_key: string;
  readonly device_key: string;
  readonly token: string;
  readonly epoch?: number;
  readonly state_index?: number;
  readonly message_index?: number;
}

export interface NodeDown {
  readonly type: "node_down";
  readonly node_id: string;
  readonly reason: "leaving" | "stuck" | "crashed";
  readonly request?: RequestId;
  readonly left?: readonly Left[];
}

/** A node's own word that it leads. */
export interface Leads {
  readonly epoch: number;
  readonly term: number;
  /** A summary of its lineage, which only bridges look into. */
  readonly history?: unknown;
}

/** What a client sends. Fields that have their default are left out. */
export type Sent =
  | Hello
  | { readonly type: "ping"; readonly n: number; readonly rtt?: number }
  | { readonly type: "pong"; readonly n: number }
  | { readonly type: "bye" }
  | { readonly type: "open_session" }
  | {
      readonly type: "request";
      readonly session: number;
      readonly serial: number;
      readonly acknowledged: number;
      readonly payload?: Json;
    }
  | { readonly type: "resync" }
  | {
      readonly type: "node_up" | "node_update";
      readonly node_id: string;
      readonly visible: boolean;
      readonly epoch?: number;
      readonly leads?: Leads;
      readonly left?: readonly Left[];
    }
  | NodeDown
  | {
      readonly type: "signal";
      readonly to: string;
      readonly link: string;
      readonly kind: Signal["kind"];
      readonly sdp?: string;
    };

export function encode(frame: Sent): string {
  return JSON.stringify(frame);
}

/** Bridges as they were remembered: whatever is not understood is nothing. */
export function readBridges(text: string): readonly BridgeAddress[] {
  try {
    return v.parse(v.array(BridgeAddress), JSON.parse(text));
  } catch {
    return [];
  }
}

/** Bridges put the type first; only then can a frame be routed without parsing it. */
const NODE_FRAME = /^\s*\{\s*"type"\s*:\s*"(?:raft|forward|directory|lost|enter|recall)"/;
const NODE_TYPES: ReadonlySet<unknown> = new Set([
  "raft",
  "forward",
  "directory",
  "lost",
  "enter",
  "recall",
]);

/** A piece of what a node remembers; Python puts the type first. */
export function isRecalled(text: string): boolean {
  return text.startsWith('{"type":"recalled"');
}

/** The last one, of a node's own. */
export function isLastRecalled(text: string): boolean {
  return (JSON.parse(text) as { last?: unknown }).last === true;
}

/** A frame that was only routed: its addressee checks it. */
export interface ForNode {
  readonly type: "for_node";
  readonly text: string;
}

/**
 * Decode and check one frame from a bridge.
 *
 * @throws FrameError - it is no JSON object, of no known type, or a field is missing or wrong.
 */
export function decode(text: string): Received | ForNode {
  if (NODE_FRAME.test(text)) return { type: "for_node", text };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new FrameError(`The bridge sent a frame that is not JSON: ${String(error)}.`);
  }
  const result = v.safeParse(Received, value);
  if (result.success) return result.output;
  if (typeof value === "object" && value !== null && NODE_TYPES.has(Reflect.get(value, "type"))) {
    return { type: "for_node", text };
  }
  const [issue] = result.issues;
  const where = v.getDotPath(issue);
  throw new FrameError(
    `The bridge sent a frame that the protocol does not allow: ${issue.message}` +
      `${where === null ? "" : ` at ${where}`}.`,
  );
}
