/** Shares what is chosen, and downloads when a test calls it. It does nothing else with files. */

import { connect } from "/ftweb/client.js";
import { download, held, save, share } from "/ftweb/files.js";

const connection = await connect("shelf");
const choose = document.querySelector("input");
choose.addEventListener("change", async () => {
  const { manifest } = await share(choose.files[0]).described;
  await connection.send({ manifest });
});
connection.onState((state) => (globalThis.state = state));
globalThis.held = held;
globalThis.fetchFirst = async () => {
  const [manifest] = globalThis.state.files;
  save(await download(manifest).done, manifest.name);
};
