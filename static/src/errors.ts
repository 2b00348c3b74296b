/** What the page's promises reject with. Codes are those of docs/errors.md, or the app's own. */

/** A request was answered with an error, or could not be sent. */
export class RequestError extends Error {
  override readonly name = "RequestError";

  constructor(
    /** A documented code, or the one that the app's handler refused with. */
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** The page could not join. */
export class ConnectError extends Error {
  override readonly name = "ConnectError";

  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** The bridge sent something that the protocol does not allow. */
export class FrameError extends Error {
  override readonly name = "FrameError";
  readonly code = "bad_frame";
}
