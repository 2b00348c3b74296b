/** Asked of the node worker and answered by it outside of Python: does its thread still turn? */
export const PING = '{"kind":"ping"}';
export const PONG = '{"kind":"pong"}';
