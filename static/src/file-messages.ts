/** What the page and the files worker say to each other. */

import type { Manifest } from "./manifest";

export type Phase =
  /** Reading the file that is to be shared. */
  | "hashing"
  /** Giving it to a bridge. */
  | "sending"
  | "fetching"
  /** No holder can be reached, or none has what is missing; it goes on by itself. */
  | "waiting"
  | "paused"
  | "done";

export interface FileProgress {
  readonly phase: Phase;
  /** Bytes of this phase that are done, of `size`. */
  readonly bytes: number;
  readonly size: number;
  /** Whom something is being fetched from just now: origins. */
  readonly from: readonly string[];
}

/** How much a browser keeps for others. */
export interface CopyBounds {
  /** Bytes of the largest file; 0: none at all. */
  readonly fileBytes: number;
  /** Bytes of all of them. */
  readonly allBytes: number;
}

export type PageToFiles =
  | {
      readonly kind: "setup";
      readonly token: string;
      readonly origins: readonly string[];
      /** The same for all tabs of this browser. */
      readonly browser: string;
    }
  | { readonly kind: "share"; readonly job: number; readonly file: File }
  | { readonly kind: "download"; readonly job: number; readonly manifest: Manifest }
  | { readonly kind: "keep"; readonly manifests: readonly Manifest[] }
  | { readonly kind: "list"; readonly job: number }
  | ({ readonly kind: "copying" } & CopyBounds)
  | { readonly kind: "pause" | "resume" | "cancel"; readonly job: number };

export type FilesToPage =
  /** What this tab holds as a whole has changed. */
  { readonly kind: "held"; readonly hashes: readonly string[] } | AboutJob;

export type AboutJob =
  | { readonly kind: "progress"; readonly job: number; readonly progress: FileProgress }
  | {
      readonly kind: "manifest";
      readonly job: number;
      readonly id: string;
      readonly manifest: Manifest;
    }
  | { readonly kind: "shared"; readonly job: number }
  | { readonly kind: "downloaded"; readonly job: number; readonly blob: Blob }
  | { readonly kind: "list"; readonly job: number; readonly hashes: readonly string[] }
  | {
      readonly kind: "failed";
      readonly job: number;
      readonly code: string;
      readonly message: string;
    };
