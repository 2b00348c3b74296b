// Tests drive the connection themselves.
import { connect } from "/ftweb/client.js";

globalThis.connection = await connect();
