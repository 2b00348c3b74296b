"""Every bound of ftweb, written once, each with its reason.

Nothing else in the project may hold a number that limits what a peer can make us do:
the codec, the bridge and the app layer read them from here, and the bridge tells the
browser runtime those that it needs in its ``welcome`` frame.
"""

from __future__ import annotations

from typing import Final

# --- one frame ------------------------------------------------------------------------

FRAME_BYTES: Final = 256 * 1024
"""Largest frame that a bridge accepts from anyone. A vote is 200 bytes; a batch of log
entries is cut at ``BATCH_BYTES``. Uvicorn's own default of 16 MiB would let one phone
take a quarter of the bridge's memory budget with a dozen frames in flight."""

STREAM_BYTES: Final = 8 * 1024 * 1024
"""Largest frame that a client accepts from a bridge: a whole state (``STATE_BYTES``) with
its envelope, and room for escapes."""

PAYLOAD_BYTES: Final = 64 * 1024
"""Largest app payload (request, reply, message) once encoded."""

JSON_DEPTH: Final = 32
"""Deepest nesting of an app payload. Python's and the browsers' recursive walkers (patch,
draft, digest) stay far from their stack limits, also under Pyodide, whose stack is small."""

JSON_KEY_CHARS: Final = 256
"""Longest object key of an app payload: keys travel again in every JSON Patch path."""

ID_CHARS: Final = 64
"""Longest identifier (node, client, device, guid). Ours have 32 characters."""

# --- replicated state -------------------------------------------------------------------

STATE_BYTES: Final = 4 * 1024 * 1024
"""Largest app state. It is sent whole to every late joiner: 4 MiB is 0.3 s for one phone
on a 100 Mbit/s Wi-Fi, and 100 phones still finish within half a minute."""

CHANGE_BYTES: Final = 128 * 1024
"""Largest change of one request; with its request and reply it still fits in a frame."""

COMMAND_BYTES: Final = 224 * 1024
"""Largest log entry of one request, everything together (request, change, outbox, reply): one
entry and its envelope always fit in a frame."""

BATCH_BYTES: Final = 96 * 1024
"""Where a batch of log entries for one AppendEntries is cut. One entry may exceed it alone,
up to ``COMMAND_BYTES``."""

SNAPSHOT_CHUNK_CHARS: Final = 48 * 1024
"""Snapshot text per InstallSnapshot. Escaped as JSON in JSON (at most doubled for quotes)
and as UTF-8 it stays below FRAME_BYTES."""

SESSIONS: Final = 4_000
"""Client sessions kept. One per page load: 500 phones reloading eight times. The one
silent for longest goes first, by log order."""

SESSION_SECONDS: Final = 12 * 3600
"""A session expires after this long without a request, by leader-stamped time: a school
day, so that a phone locked since the morning can still repeat its last request."""

SESSION_REPLIES: Final = 64
"""Replies kept per session: as many as a client may have pending."""

SESSION_GAP_SECONDS: Final = 3600
"""How much of the time between two log entries counts towards ``SESSION_SECONDS``, at most. A
host whose clock is wrong by a year ages everybody's session by an hour, not by a year."""

SESSIONS_CHARS: Final = 4 * 1024 * 1024
"""Cached replies of all sessions together, as JSON. Replies are small and soon acknowledged;
this bounds what clients that never acknowledge can make every replica keep and every snapshot
carry. Beyond it the session that holds most loses its oldest replies."""

SESSION_NUMBERS: Final = 8
"""Numbers by which one session is known. One was given by its own history; each other epoch in
which its client was served while they were apart may have given one more."""

SESSIONS_ADOPTED: Final = 2 * SESSIONS
"""Sessions of other epochs of which it is remembered that they went on in this one, so that none
does so twice: as many as there are, once more. The one adopted first is forgotten first."""

SESSION_HOLES: Final = 64
"""Ranges of serials, in one session, that were answered in another epoch and may still come to be
run here. A client that stays with one bridge leaves one. The lowest range is forgotten first."""

# --- epochs -------------------------------------------------------------------------------

LINEAGE: Final = 256
"""Ancestors of an epoch that are known by name; the oldest is forgotten first. One per restart of
a bridge: years of lessons, and 20 kB in a snapshot."""

KNOWN_BRIDGES: Final = 64
"""Bridges that ever belonged to one history: as many laptops as a school puts into one room."""

RESTS: Final = 16
"""Epochs that are remembered as ones in which voters may go on by themselves: one for each time
that a bridge begins another without having heard them. The oldest is forgotten first."""

REST_SECONDS: Final = 3600.0
"""A bridge that comes back to a log without an entry for so long waits for nobody any more: the
lesson is over, and its tabs are closed."""

LEFT_EPOCHS: Final = 4
"""The latest epochs of which a node tells where it left them: a bridge may have crashed since it
was told, and another one want to know."""

LEAVERS: Final = 256
"""Nodes of which a relay remembers where they left an epoch: several times the members."""

JOURNAL_CHARS: Final = 4 * 1024 * 1024
"""Requests of a provisional epoch kept for being run again, as JSON: 15,000 votes. It is part of
every snapshot, so it must not outgrow the state. An epoch whose journal is full settles."""

JOURNAL_REQUESTS: Final = 20_000
"""Requests in it. Repeated in another epoch at 200 a second they take less than two minutes."""

PENDING_CHARS: Final = 4 * JOURNAL_CHARS
"""Requests that wait at a bridge for being run again: its own journal, and what tabs had."""

REMEMBERED_CHARS: Final = JOURNAL_CHARS
"""Entries of the present epoch that a node keeps though its log has compacted them, and as much of
the epoch before: a bridge may lack them (ftweb/remembering.py)."""

RECALL_CHARS: Final = 64 * 1024
"""Recalled requests in one frame, and one more: with the largest payload and reply that is still
less than FRAME_BYTES."""

REPLAY_WINDOW: Final = 32
"""Replayed requests under way at once: enough to fill batches, and the live requests of those who
are there already hardly wait behind them."""

HELD_CHARS: Final = 16 * 1024 * 1024
"""Frames of requests that a bridge holds back meanwhile: 16 kB for each of a thousand clients. What
is dropped beyond is repeated by its client."""

REPLAY_SECONDS: Final = 1.0
"""After so long without an answer a replayed request is sent again."""

ARRIVE_SECONDS: Final = 5.0
"""How long a bridge that has given up its epoch waits for another that it cannot reach any more,
before it goes back to what it had: longer than a Wi-Fi blip."""

# --- traffic ------------------------------------------------------------------------------

PENDING_REQUESTS: Final = 64
"""Requests that one client may have unanswered."""

CLIENT_FRAMES_PER_SECOND: Final = 100
"""Frames a second that a socket without a replica may send, averaged over
``RATE_BURST_SECONDS``. A person taps at most ten times a second."""

REPLICA_FRAMES_PER_SECOND: Final = 4_000
"""The same for a socket whose tab holds a replica: it carries consensus for everybody
(five peers, 200 requests a second, two frames each, and a factor of two)."""

NODES_PER_MINUTE: Final = 20
"""Replicas that may come up one after another behind one socket. Each that ends is told to all
members; a tab whose replica keeps failing waits longer each time, and is at ten."""

LOSSES_KEPT: Final = 64
"""Nodes that have just gone and of which those are told who come a moment later: all members of a
bridge that is gone, several times."""

RATE_BURST_SECONDS: Final = 2.0
"""How long a socket may exceed its rate before it is closed."""

CONNECTIONS: Final = 1_000
"""Sockets per bridge: a lecture hall of 500, twice. About 100 kB each."""

CONNECTIONS_PER_ADDRESS: Final = 600
"""Sockets from one address: below CONNECTIONS so that one host cannot take every place,
above a lecture hall behind one NAT."""

SLOW_READER_BYTES: Final = 2 * STATE_BYTES
"""Bytes queued for one socket before it is closed as a slow reader (1013): one whole state
plus what comes while it is being read."""

UNREAD_BYTES: Final = 64 * 1024
"""A client with more than this unread gets no state change until it has read: then it gets one
for all that happened. A screenful of changes; more would be outdated when it arrives."""

UNSENT_BYTES: Final = 128 * 1024
"""What the operating system may queue for one connection before it is on its way. Left alone it
takes megabytes for a phone with bad reception; this way a slow reader is seen early."""

CHANGES_KEPT_BYTES: Final = 128 * 1024
"""State changes kept for those who are behind; who is further behind gets the whole state. More
costs as much as most states, and takes a phone longer to apply."""

CLOSE_SECONDS: Final = 2.0
"""How long a closing socket may take to flush and answer before it is cut off."""

MESSAGE_FRAGMENTS: Final = 1_024
"""Fragments of one WebSocket message. Browsers cut at tens of kilobytes; empty fragments have no
size, so the limit of bytes alone would not end them."""

FRAGMENT_BYTES: Final = 1024
"""A fragment of this size or more is not counted against a socket's rate: the size of its message
is bounded, and with it their number."""

REQUESTS_TRACKED: Final = 16 * CONNECTIONS
"""Unanswered requests that a bridge keeps in mind to find those that kill hosts: 16 for each
client of a full bridge. The oldest is forgotten first."""

CHANGES_PER_SECOND: Final = 20
"""State frames a second to one client. More cannot be seen; replies never wait for it."""

CHANGES_IN_ALL_PER_SECOND: Final = 2_000
"""State frames a second to all clients of a bridge together. An access point passes on a few
thousand small frames a second, and the votes share the air with them. Up to 100 clients get
``CHANGES_PER_SECOND`` each; a lecture hall of 500 sees four changes a second, each with all votes
since the last."""

RESYNC_SECONDS: Final = 1.0
"""A client that asks for the whole state is sent it once in so many seconds: it asks when something
was lost, which is rare."""

STATUS_PER_SECOND: Final = 4
"""Status frames a second for mere head counts. A change of host is told at once."""

HOSTLESS_SECONDS: Final = 0.1
"""How long pages are not told that nobody hosts: after a loss the next host is there within 60 ms,
and a page says so to a person only after a quarter of a second."""

HELLO_SECONDS: Final = 5.0
"""A socket that has not said a valid hello by then is closed (4408)."""

SILENCE_SECONDS: Final = 20.0
"""A socket from which nothing came for so long is closed: the runtime pings every 5 s from
a worker, whose timers are never throttled."""

PING_SECONDS: Final = 5.0
"""How often the runtime pings its bridge."""

LISTEN_SECONDS: Final = 6.0
"""How long a bridge that comes back waits for a group that has gone on without it. Its host looks
for it every second, an attempt at a machine that is off takes five, taking it in less than one."""

QUORUM_LOSS_SECONDS: Final = 5.0
"""How long a majority of the voters must be gone before an app that wants to continue does so in
a new epoch. Longer than a Wi-Fi blip or a page's reload; short enough for a class to wait."""

LATE_SECONDS: Final = 1.0
"""A timer that is so late tells of this process's own standstill, not of the others'."""

HANDLER_SECONDS: Final = 1.0
"""Longest a handler may run. Below the election timeout (1.5 s), so that the request that
stops a host is known before the next host would run it."""

HOST_DEATHS_PER_REQUEST: Final = 2
"""A request that was running on so many hosts that died is refused by the next one."""

OUTBOX_MESSAGES: Final = 256
"""Messages that one request may send."""

OUTBOX_REPLAY: Final = 1_000
"""Recent outgoing messages that a bridge keeps to send again to clients that reconnect."""

OUTBOX_BYTES: Final = STATE_BYTES // 2
"""All of those together. Who comes back may get them with a whole state at once, and must not be
taken for a slow reader (SLOW_READER_BYTES): it would be sent the same at each return."""

SIGNAL_CHARS: Final = 16 * 1024
"""A session description with one data channel has 600 characters, and each candidate 100; a
laptop with a dozen network interfaces stays far below."""

SIGNAL_CANDIDATES: Final = 32
"""Candidates of one description to which a relay adds addresses."""

SIGNAL_ADDRESSES: Final = 4
"""Addresses that are added for each of them: a laptop with Wi-Fi, cable and their like."""

# --- links between bridges ------------------------------------------------------------------

LINKED_BRIDGES: Final = 16
"""Bridges of one server: a laptop in each corner of a hall is four. What each tells goes to all."""

LINK_HOPS: Final = 8
"""Links that a frame may pass. Routes are short; while two bridges do not agree yet about who is
where, this ends what goes round in circles."""

ENVELOPE_BYTES: Final = 1024
"""Room in a frame between bridges for what is around a node's: an id of 64 characters, escaped."""

LINK_NODES: Final = 64
"""Nodes that a bridge tells the others of: the members and the next best. Five of all become
members; the rest of a lecture hall would only make each ``link_state`` longer."""

LINK_STATES_PER_SECOND: Final = 10
"""How often a bridge tells of those who come, at most. Losses do not wait for it."""

LINK_FRAMES_PER_SECOND: Final = 20_000
"""Frames a second over one link, averaged over RATE_BURST_SECONDS: consensus and requests of
everybody at the other side (``REPLICA_FRAMES_PER_SECOND`` for each of five members)."""

LINK_PING_SECONDS: Final = 0.25
"""How often bridges ping one another."""

LINK_SILENCE_SECONDS: Final = 1.25
"""A link on which nothing came for so long is down. Below the election timeout, so that a laptop
whose network is gone is replaced as soon as a tab that fell silent would be; four pings, so that a
bridge that writes to a slow disk is not given up."""

NAME_ANSWERS: Final = 256
"""Packets that are read when it is asked who publishes a server: whatever is multicast in those two
seconds comes along, and whoever floods us is not read for longer."""

# --- HTTP ---------------------------------------------------------------------------------

HTTP_HEADER_BYTES: Final = 16 * 1024
"""Request line and headers. No route of the runtime needs more than 2 kB."""

HTTP_CONCURRENCY: Final = 4 * CONNECTIONS
"""Connections accepted at all, sockets and downloads of the runtime together: a browser opens up
to six at once for a page, and a lecture hall scans the QR code in the same minute."""

HTTP_STALL_SECONDS: Final = 30.0
"""A download of which nothing was taken for so long is cut off: a phone that left the room would
otherwise keep its connection for a quarter of an hour."""

BUNDLE_BYTES: Final = 16 * 1024 * 1024
"""Largest app bundle: it is loaded by every tab."""

# --- files ----------------------------------------------------------------------------------

FILE_CHUNK_BYTES: Final = 1024 * 1024
"""How files are cut: what a phone loses at most when a holder lies, what a tab holds in memory
per stream, and a tenth of a second on a 100 Mbit/s Wi-Fi."""

FILE_CHUNKS: Final = 512
"""Chunks of one file, so that a manifest with all its hashes (35 kB) fits into a request, and with
the change that it makes into one batch of log entries. A larger file has larger chunks."""

FILE_CHUNK_BYTES_MOST: Final = 4 * FILE_CHUNK_BYTES
"""Largest chunk. A tab holds ``FILE_STREAMS`` of them."""

FILE_BYTES: Final = FILE_CHUNKS * FILE_CHUNK_BYTES_MOST
"""Largest file: 2 GiB, a recorded lecture."""

FILE_NAME_CHARS: Final = 200
"""Longest file name: with its suffixes it fits into the 255 bytes of a file system's names in most
scripts."""

FILE_TYPE_CHARS: Final = 127
"""Longest media type: twice what RFC 6838, section 4.2, asks for in each half."""

FILE_STREAMS: Final = 4
"""Chunks that one download fetches at the same time: enough to use two holders fully while one is
slow, few enough for a browser's six connections to a server."""

FILE_STALL_SECONDS: Final = 4.0
"""A holder that sends nothing for so long is left for another one: longer than a Wi-Fi roams, far
shorter than a person waits."""

FILE_STALL_SECONDS_MOST: Final = 32.0
"""How long a page waits at most, after several such silences in a row, before it gives an upload
or a download up for another try. Browsers tell how much of an upload the system took, not how much
has arrived: a chunk of 4 MiB may lie in a send buffer for half a minute on a Wi-Fi of 1 Mbit/s."""

FILE_PAUSE_SECONDS: Final = 0.25
"""How long a holder is let alone after it failed; doubled each time it fails again."""

FILE_PAUSE_SECONDS_MOST: Final = 4.0
"""Longest such pause: a bridge that is back is used again within so many seconds."""

FILES_KEPT: Final = 1_000
"""Manifests that a bridge keeps: a school year of one class."""

FILES_DISK_BYTES: Final = 16 * 1024 * 1024 * 1024
"""What the chunks of all files may take on a bridge's disk."""

FILES_FREE_BYTES: Final = 512 * 1024 * 1024
"""What files leave free on the disk: the replica is saved there too, and without it nothing is
acknowledged."""

FILES_UNNAMED_SECONDS: Final = 3600.0
"""A file that the app's state does not name is forgotten so long after it was last written: it is
being uploaded, or the app has dropped it."""

FILE_RANGES: Final = 8
"""Ranges of one request. More is nothing that a player or a download asks for (CVE-2025-62727 was a
server that took any number)."""

FILE_UPLOADS: Final = 32
"""Chunks that may be on their way to a bridge at the same time: eight devices with four each. What
they have sent so far stands on the disk, not in memory."""

FILE_DOWNLOADS: Final = 256
"""Files that a bridge sends at the same time: with half a MiB each in memory, 128 MiB. Who comes
later is told to try again in a second, or asks another bridge."""

FILE_TAB_BYTES: Final = 300_000_000
"""What sharing or fetching a file may add to the memory of a tab's process, whatever its size:
``FILE_STREAMS`` chunks of 4 MiB, their copies on the way to the disk, and mostly what the browser's
collector lets lie while data comes at hundreds of MB a second. Not enforced: tests measure it."""

FILES_KEPT_IN_TAB_BYTES: Final = 1024 * 1024 * 1024
"""What a tab keeps of files that it has downloaded or shared, so that it can give them back.
Browsers allow a tenth of the disk and more; the least recently used go first."""

FILE_BROWSERS: Final = 2
"""How many browsers keep each file, besides the bridges: the one that shared it and one more, so
that a bridge and either of them may be lost."""

FILE_COPY_BYTES: Final = 64 * 1024 * 1024
"""Largest file that a browser fetches for others without anybody having asked it to: half a minute
of a phone's Wi-Fi."""

FILES_COPIED_BYTES: Final = 256 * 1024 * 1024
"""What a browser keeps for others in all; it is part of FILES_KEPT_IN_TAB_BYTES."""

FILES_TOLD_SECONDS: Final = 10.0
"""How often a tab tells which files it holds: 40 tabs are four small requests a second."""

FILES_TOLD_LEASE_SECONDS: Final = 30.0
"""A tab that tells nothing for so long has left, or sleeps: two that got lost are forgiven."""

FILE_COPY_SECONDS: Final = 600.0
"""How long a browser that was asked to keep a file may take for it: the largest at 1 Mbit/s."""

# --- HTTP answered by a tab (ftweb.flyweb) -------------------------------------------------

HTTP_STREAMS: Final = CONNECTIONS
"""Requests and WebSockets that a bridge has open at its host at once; more are answered 503. As
many as there are sockets: each phone may hold one event stream or WebSocket."""

HTTP_STREAMS_PER_ADDRESS: Final = CONNECTIONS_PER_ADDRESS
"""The same from one address; more are answered 429. For the same reason as for sockets."""

HTTP_FRAME_BYTES: Final = 1024 * 1024
"""Largest message on a tab's socket for HTTP, once the bridge knows whose it is. Each message costs
every process on the way some 50 us, whatever its size; only members of the cluster have one."""

HTTP_BUFFER_BYTES: Final = 16 * 1024 * 1024
"""What all responses under way may fill: each new one is granted a share of it as its window,
between the two bounds below. With every stream open that is 110 MiB at worst, all of it held by
clients that do not read."""

HTTP_WINDOW_MAX: Final = 4 * 1024 * 1024
"""Largest window of a response. Bridge, network process and tab take turns on few cores, so a round
trip takes some 8 ms while much is under way: this lets through 500 MB a second."""

HTTP_WINDOW_MIN: Final = 64 * 1024
"""Smallest window of a response."""

HTTP_UPLOAD_WINDOW: Final = 256 * 1024
"""Window of a request's body, which fills the tab's memory."""

HTTP_STREAM_FRAMES: Final = 16 * 1024
"""Frames of one stream that may wait for its client, whatever their size: tiny messages that a
phone with bad reception has missed for minutes. Its stream is ended beyond that."""

HTTP_BODY_BYTES: Final = 2 * 1024**3
"""Largest body of a request; more is answered 413. It is passed on piece by piece: this bounds
time and traffic, not memory. An app will want a smaller bound of its own."""

HTTP_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""Largest message that an app may send on a WebSocket (1009 beyond): the bridge holds all of it."""

HTTP_REPLAY_BYTES: Final = 64 * 1024
"""How much of a request's body the bridge keeps to send it again to the next host."""

HTTP_WRITE_BYTES: Final = 32 * 1024
"""Largest body of an HTTP request that may change the state: in base64, with its headers, it is a
request like any other (PAYLOAD_BYTES)."""

HTTP_REPLY_BYTES: Final = 60 * 1024
"""Largest response, as JSON, that is kept with an ``Idempotency-Key``: a reply like any other
(PAYLOAD_BYTES)."""

HTTP_KEYS_PER_HOUR: Final = SESSIONS // 4
"""New idempotency keys that a host takes in an hour (429 beyond). Each has a client session: more
would drive out those of pages."""

HTTP_HEAD_SECONDS: Final = 60.0
"""How long a tab may take to begin its response, once it has the whole request; then 504. As long
as gateways usually wait: an app may hold a request until there is news."""

HTTP_HOST_SECONDS: Final = 5.0
"""How long a request waits for a tab that hosts; then 503. A takeover takes about a second."""

PAGE_SERVERS: Final = 16
"""Servers that pages may publish at one bridge. Each has a port and announcements of its own."""

PAGE_PING_SECONDS: Final = 1.0
"""How often a page that publishes a server is asked whether it is there."""

PAGE_SILENCE_SECONDS: Final = 4.0
"""A page from which nothing came for so long is not there: cut off, frozen, or its phone locked.
Less than the 5 s that FlyWeb's discovery took; more than a script of a page should ever run in one
go."""

HTTP_MOVED_SECONDS: Final = 2.0
"""When another tab hosts, a former host from which nothing came for so long is given up: frozen
tabs keep their sockets open."""
