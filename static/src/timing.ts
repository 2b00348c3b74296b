/**
 * Every delay of the runtime, in milliseconds, each with its reason.
 *
 * What a peer may make us do is not here: those bounds come in the `welcome` frame, from
 * ftweb/limits.py.
 */

/** Until others are tried again. A LAN answers in milliseconds; a dead address never. */
export const DIAL_MS = 5_000;

/**
 * A socket that has not opened by then is replaced by a new one. Long, as a bridge with much to do
 * may answer late; but kernels ask a silent address again after 1, 3, 7 and 15 seconds, so from the
 * fourth on a new one asks sooner. Firefox counts one that has waited for 20 s as failed, and makes
 * those after it wait for longer each time (see `Origin` in targets.ts).
 */
export const KEEP_MS = 12_000;

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

/**
 * How long there may be no host before a person is told: most hand-overs are quicker. A relay says so
 * 100 ms late itself (HOSTLESS_SECONDS in ftweb/limits.py).
 */
export const TAKING_OVER_MS = 150;

/** How long there may be no bridge before a person is told: re-pointing is quicker. */
export const NO_BRIDGE_MS = 500;

/** A bridge with another history comes over within this, if it does: it is told, judges, and says so. */
export const MEET_MS = 3_000;

/** A node that ends has so long to hand in what it knows: a few milliseconds, unless it hangs. */
export const HAND_IN_MS = 2_000;

/** What was handed in is told to the next bridge as well for so long: a dead socket is noticed within
 * seconds, and nobody else may know it any more. */
export const HANDED_MS = 30_000;

/** How long a member does not follow another history once its group was seen to go on without a
 * bridge: an election without one takes two or three seconds, also when a laptop vanishes. */
export const HOLD_MS = 10_000;

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

/** Data channels to other tabs begin so long after the first paint: to vote comes first. */
export const PEERS_AFTER_MS = 1_500;

/** Gathering a LAN's candidates takes 10 to 100 ms; what is missing then is left out. */
export const GATHER_MS = 1_000;

/** From an offer to an open channel: 200 ms on a LAN. A lost answer must not block the next try. */
export const CONNECT_MS = 6_000;

/** Wait before another attempt at the same tab, doubled each time up to the cap. */
export const REDIAL_BASE_MS = 2_000;
export const REDIAL_CAP_MS = 60_000;

/** Data channels that a tab opens: to the first successors, one of whom will host next. */
export const CHANNELS_WANTED = 3;

/** A member opens them to all other members: five tabs at most (max_tabs in ftweb/core). */
export const CHANNELS_OF_MEMBERS = 5;

/**
 * Data channels that a tab accepts. All of 60 tabs fit at each of the first successors, with room
 * for a third of 100 pages that never host; Chromium allows 500 connections a page, and each costs
 * about 1 MB and a heartbeat a second. Whoever is refused keeps to the bridge.
 */
export const CHANNELS_ACCEPTED = 96;

/** How often members let hear of themselves on a channel: three missed are a loss, in 1.2 s. */
export const BEAT_MS = 400;

/** The same on channels that only stand by, of which a successor may have a hundred. */
export const STANDBY_BEAT_MS = 1_000;

/** So many of the other side's beats without a word, and its channel is dead. */
export const BEATS_MISSED = 3;

/**
 * How long a tab may take to answer when there is reason for doubt (the bridge has gone): many
 * times a round trip, and yet a quarter of a person's patience. Too short costs an election.
 */
export const PROBE_MS = 250;

/**
 * For so long after its bridge was lost, whoever hosts is asked again and again: the processes of a
 * laptop that is shut down, or runs out of power, end one after the other within this time.
 */
export const DOUBT_MS = 1_000;

/** How often beats are sent and judged. */
export const BEAT_TICK_MS = 100;

/**
 * A bridge that has said nothing for so long may have gone: consensus, which speaks through it
 * every 150 ms, then takes the direct way as well.
 */
export const BRIDGE_QUIET_MS = 600;

/** One message on a data channel: at three bytes a character below the 256 KiB that all take. */
export const PIECE_CHARS = 60_000;

/** What is put together from pieces: a whole state (STREAM_BYTES in ftweb/limits.py). */
export const PIECES_CHARS = 8 * 1024 * 1024;

/** The same of anything else: FRAME_BYTES in ftweb/limits.py. */
export const FRAME_CHARS = 256 * 1024;

/** Bytes queued in a data channel beyond which its reader is too slow, as at a bridge. */
export const CHANNEL_BACKLOG_BYTES = 8 * 1024 * 1024;
