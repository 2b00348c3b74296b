/**
 * Every delay of the runtime, in milliseconds, each with its reason.
 *
 * What a peer may make us do is not here: those bounds come in the `welcome` frame, from
 * ftweb/limits.py.
 */

/** Until a socket opens. A LAN answers in milliseconds; a dead address never. */
export const DIAL_MS = 5_000;

/** The next address is tried after this, beside the one that does not answer: ten round trips. */
export const DIAL_NEXT_MS = 150;

/** All who lost a bridge come to the next one within this time, not in one instant. */
export const SPREAD_MS = 200;

/** From an open socket to its welcome. */
export const WELCOME_MS = 5_000;

/** A bridge that has said nothing for so long after a ping is gone (a socket may lie: iOS). */
export const PONG_MS = 5_000;

/**
 * While something is expected (an unanswered request, the host's heartbeats) a bridge that said
 * nothing for so long is pinged. Heartbeats come every 150 ms, replies within 50.
 */
export const QUIET_MS = 400;

/**
 * A bridge that said nothing for so long after a ping is looked for elsewhere, where there is
 * another. Its socket is kept until another is open: a phone's Wi-Fi sleeps for 100 to 300 ms.
 */
export const SUSPECT_MS = 500;

/**
 * The same while a whole state is on its way: one message of up to 4 MiB, of which a page sees
 * nothing until its last byte. A hundred phones that join at once get theirs within half a minute.
 */
export const LOADING_MS = 45_000;

/** A timer that fires so late tells of our own stall, not of the other side. */
export const LATE_MS = 1_000;

/** First reconnect: at once, but spread, since a bridge's end is noticed by all in one moment. */
export const RETRY_FIRST_MS = [50, 250] as const;

/** Ceiling of the first jittered retry after that; doubled each time. */
export const RETRY_BASE_MS = 500;

/** Longest wait between two attempts: a bridge that is back has all its clients within 5 s. */
export const RETRY_CAP_MS = 4_000;

/** A socket that lasted so long was a good one: the next retry is a first one again. */
export const STABLE_MS = 5_000;

/** Shortest wait after the bridge said it has too much to do. */
export const BUSY_MS = 1_000;

/** How often the steady watch runs: clock leaps, requests that wait for too long. */
export const WATCH_MS = 1_000;

/** A wall clock that moved so far between two watches: the device slept, or was set. */
export const LEAP_MS = 3_000;

/** A request that has waited so long is repeated even with nothing to tell that it was lost. */
export const REPEAT_MS = 5_000;

/** How long the link may be down before a person is told: most reconnects are quicker. */
export const OFFLINE_MS = 750;

/** How long there may be no host before a person is told: most hand-overs are quicker. */
export const TAKING_OVER_MS = 250;

/** How long there may be no quorum before a person is told: a takeover has none for a moment. */
export const NO_QUORUM_MS = 3_000;

/** A node worker that ended is replaced after this, doubled each time up to the cap. */
export const REBOOT_BASE_MS = 500;
export const REBOOT_CAP_MS = 30_000;

/** How often a node worker is asked whether it lives. */
export const PULSE_MS = 5_000;

/** A node worker that has not answered for so long hangs: restoring 4 MiB takes a phone 2 s. */
export const PULSE_LIMIT_MS = 15_000;

/** So many crashes within this time, and the tab no longer tries to hold a replica. */
export const CRASHES = 3;
export const CRASHES_MS = 60_000;

/** Bytes queued in the socket above which consensus frames are dropped: Raft repeats them. */
export const NODE_BACKLOG_BYTES = 4 * 1024 * 1024;

/** Provisional replies kept, for the case that they turn out otherwise: what a person still knows. */
export const PROVISIONAL_KEPT = 256;
