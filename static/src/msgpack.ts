/**
 * The little of msgpack that the frames between a bridge and a page use: nil, booleans, integers,
 * text, bytes, arrays. What is read comes from the bridge; anything else is an error.
 */

export type Packed = null | boolean | number | string | Uint8Array | readonly Packed[];

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder();

export function pack(value: Packed): Uint8Array {
  const parts: Uint8Array[] = [];
  put(value, parts);
  return join(parts);
}

export function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function put(value: Packed, parts: Uint8Array[]): void {
  if (value === null) parts.push(Uint8Array.of(0xc0));
  else if (typeof value === "boolean") parts.push(Uint8Array.of(value ? 0xc3 : 0xc2));
  else if (typeof value === "number") parts.push(head(0xce, value));
  else if (typeof value === "string") {
    const bytes = utf8.encode(value);
    parts.push(head(0xdb, bytes.length), bytes);
  } else if (value instanceof Uint8Array) parts.push(head(0xc6, value.length), value);
  else {
    parts.push(head(0xdd, value.length));
    for (const item of value) put(item, parts);
  }
}

/** A type byte and a number of 32 bits. */
function head(type: number, value: number): Uint8Array {
  const bytes = new Uint8Array(5);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(1, value);
  return bytes;
}

export function unpack(bytes: Uint8Array): Packed {
  const reader = new Reader(bytes);
  return reader.value();
}

class Reader {
  private at = 0;
  private readonly view: DataView;

  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  value(): Packed {
    const type = this.number(1);
    if (type < 0x80) return type;
    if (type >= 0x90 && type < 0xa0) return this.array(type & 0x0f);
    if (type >= 0xa0 && type < 0xc0) return this.text(type & 0x1f);
    if (type >= 0xe0) return type - 0x100;
    switch (type) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
      case 0xc5:
      case 0xc6:
        return this.raw(this.number(2 ** (type - 0xc4)));
      case 0xcc:
      case 0xcd:
      case 0xce:
        return this.number(2 ** (type - 0xcc));
      case 0xd9:
      case 0xda:
      case 0xdb:
        return this.text(this.number(2 ** (type - 0xd9)));
      case 0xdc:
      case 0xdd:
        return this.array(this.number(2 * 2 ** (type - 0xdc)));
      default:
        throw new Error(`ftweb: msgpack type ${type} is not used here.`);
    }
  }

  /** An unsigned number of 1, 2 or 4 bytes. */
  private number(size: number): number {
    const { at } = this;
    this.at += size;
    if (size === 1) return this.view.getUint8(at);
    return size === 2 ? this.view.getUint16(at) : this.view.getUint32(at);
  }

  private raw(size: number): Uint8Array {
    const start = this.at;
    this.at += size;
    if (this.at > this.bytes.length) throw new Error("ftweb: a message ends too early.");
    return this.bytes.slice(start, this.at);
  }

  private text(size: number): string {
    return fromUtf8.decode(this.raw(size));
  }

  private array(size: number): readonly Packed[] {
    return Array.from({ length: size }, () => this.value());
  }
}
