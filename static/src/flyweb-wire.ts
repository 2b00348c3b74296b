/** The frames of `ftweb/flyweb/wire.py` (which has the rules), as a page that serves needs them. */

import * as v from "valibot";

import { join, pack, unpack, type Packed } from "./msgpack";

export const OPEN = 1;
export const HEAD = 2;
export const ACCEPT = 3;
export const DATA = 4;
export const CREDIT = 5;
export const CLOSE = 6;
export const RESET = 7;

export const END = 1;
export const TEXT = 2;

/** Largest piece of a body in one frame. */
export const PIECE_BYTES = 128 * 1024;
/** What the bridge may send of a request's body before it is granted more. */
export const UPLOAD_WINDOW = 256 * 1024;

const HEADER_BYTES = 10;

export interface Frame {
  readonly kind: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Uint8Array<ArrayBuffer>;
}

export type HeaderList = readonly (readonly [string, string])[];

export interface Opened {
  readonly kind: "http" | "websocket";
  readonly method: string;
  /** Path and query, as they were sent. */
  readonly target: string;
  readonly headers: HeaderList;
  readonly subprotocols: readonly string[];
  readonly window: number;
}

export function* split(message: ArrayBuffer): Generator<Frame> {
  const view = new DataView(message);
  let at = 0;
  while (at < message.byteLength) {
    const start = at + HEADER_BYTES;
    const end = start + view.getUint32(at + 6);
    if (end > message.byteLength) throw new Error("ftweb: a message ends within a frame.");
    yield {
      kind: view.getUint8(at),
      flags: view.getUint8(at + 1),
      stream: view.getUint32(at + 2),
      payload: new Uint8Array(message, start, end - start),
    };
    at = end;
  }
}

export function encode(
  kind: number,
  stream: number,
  payload: Uint8Array,
  flags = 0,
): Uint8Array<ArrayBuffer> {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint8(0, kind);
  view.setUint8(1, flags);
  view.setUint32(2, stream);
  view.setUint32(6, payload.length);
  return join([header, payload]);
}

export function encodeCredit(stream: number, count: number): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(4);
  new DataView(payload.buffer).setUint32(0, count);
  return encode(CREDIT, stream, payload);
}

export function readCredit(frame: Frame): number {
  return new DataView(frame.payload.buffer, frame.payload.byteOffset, 4).getUint32(0);
}

export function encodeHead(
  stream: number,
  status: number,
  headers: HeaderList,
): Uint8Array<ArrayBuffer> {
  return encode(HEAD, stream, pack([status, packHeaders(headers)]));
}

export function encodeAccept(stream: number, subprotocol: string | null): Uint8Array<ArrayBuffer> {
  return encode(ACCEPT, stream, pack([subprotocol, []]));
}

export function encodeClose(stream: number, code: number, reason: string): Uint8Array<ArrayBuffer> {
  return encode(CLOSE, stream, pack([code, reason]));
}

export function encodeReset(stream: number, why: "failed" | "gone"): Uint8Array<ArrayBuffer> {
  return encode(RESET, stream, pack([why]));
}

const bytes = v.instance(Uint8Array);

const Open = v.tuple([
  v.picklist(["http", "websocket"]),
  v.string(), // HTTP version
  v.string(), // scheme
  v.string(), // method
  v.string(), // path, decoded
  bytes, // path as sent
  bytes, // query
  v.array(v.tuple([bytes, bytes])),
  v.nullable(v.array(v.union([v.string(), v.number()]))), // client
  v.nullable(v.array(v.union([v.string(), v.number(), v.null()]))), // server
  v.array(v.string()),
  v.number(), // window
  v.boolean(), // asks first
]);

export function readOpen(frame: Frame): Opened & { readonly asks: boolean } {
  const open = v.parse(Open, unpack(frame.payload));
  const query = latin1(open[6]);
  return {
    kind: open[0],
    method: open[3],
    target: latin1(open[5]) + (query === "" ? "" : `?${query}`),
    headers: open[7].map(([name, value]) => [latin1(name), latin1(value)] as const),
    subprotocols: open[10],
    window: open[11],
    asks: open[12],
  };
}

const Close = v.tuple([v.number(), v.string()]);

export function readClose(frame: Frame): { readonly code: number; readonly reason: string } {
  const [code, reason] = v.parse(Close, unpack(frame.payload));
  return { code, reason };
}

function packHeaders(headers: HeaderList): Packed {
  return headers.map(([name, value]) => [fromLatin1(name), fromLatin1(value)]);
}

function latin1(data: Uint8Array): string {
  return Array.from(data, (byte) => String.fromCharCode(byte)).join("");
}

function fromLatin1(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff);
}
