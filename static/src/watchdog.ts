/**
 * Ends what never ends: Python in a worker cannot be interrupted on an insecure origin (no
 * SharedArrayBuffer), so a handler that hangs is ended together with its worker.
 *
 * The verdict must not fall on an innocent handler when it was the net worker that stood still (a
 * frozen tab, a laptop that slept, a busy machine): a timer that fires late has not watched, and
 * what ended meanwhile may still be in the queue behind it. It gives one more slice.
 *
 * What hangs outside of any handler (a task that the app started, a worker out of memory) is found
 * by its `Pulse`, more slowly: the group has long replaced that node, but it would go on burning a
 * phone's battery, and its page would go on saying that it is ready.
 */

import { nothing, type Cancel, type Clock } from "./clock";
import type { RequestId } from "./frames";
import { PULSE_LIMIT_MS, PULSE_MS } from "./timing";

/** Later than this and the slice counts as unwatched, as a share of the slice. */
const LATENESS = 0.25;

export class Watchdog {
  private cancel: Cancel = nothing;

  constructor(
    private readonly clock: Clock,
    private readonly stuck: (request: RequestId) => void,
  ) {}

  /** A handler has begun with this request. */
  begin(request: RequestId, milliseconds: number): void {
    this.cancel();
    const due = this.clock.now() + milliseconds;
    this.cancel = this.clock.after(milliseconds, () => {
      if (this.clock.now() - due > milliseconds * LATENESS) this.begin(request, milliseconds);
      else this.stuck(request);
    });
  }

  /** It has ended, or its worker has. */
  end(): void {
    this.cancel();
    this.cancel = nothing;
  }
}

export class Pulse {
  private cancel: Cancel = nothing;

  constructor(
    private readonly clock: Clock,
    private readonly ask: () => void,
    private readonly dead: () => void,
  ) {}

  /** The worker is up, or has answered: ask it again in a while. */
  alive(): void {
    this.cancel();
    this.cancel = this.clock.after(PULSE_MS, () => this.beat());
  }

  end(): void {
    this.cancel();
    this.cancel = nothing;
  }

  private beat(): void {
    this.ask();
    const due = this.clock.now() + PULSE_LIMIT_MS;
    this.cancel = this.clock.after(PULSE_LIMIT_MS, () => {
      if (this.clock.now() - due > PULSE_LIMIT_MS * LATENESS) this.beat();
      else this.dead();
    });
  }
}
