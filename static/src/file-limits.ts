/** The bounds of files, as ftweb/limits.py has them with their reasons; a test compares the two. */

export const FILE_BYTES = 2147483648;
export const FILE_CHUNK_BYTES = 1048576;
export const FILE_CHUNK_BYTES_MOST = 4194304;
export const FILE_CHUNKS = 512;
export const FILE_NAME_CHARS = 200;
export const FILE_TYPE_CHARS = 127;
export const FILE_STREAMS = 4;
export const FILE_STALL_SECONDS = 4;
export const FILE_STALL_SECONDS_MOST = 32;
export const FILE_PAUSE_SECONDS = 0.25;
export const FILE_PAUSE_SECONDS_MOST = 4;
export const FILES_KEPT_IN_TAB_BYTES = 1073741824;
export const FILES_UNNAMED_SECONDS = 3600;
export const FILE_COPY_BYTES = 67108864;
export const FILES_COPIED_BYTES = 268435456;
export const FILES_TOLD_SECONDS = 10;
export const FILE_COPY_SECONDS = 600;
