/**
 * `<ftweb-status>`: the status as one short sentence, for people and for screen readers.
 *
 * Its `data-state` is the status's `state`, for style sheets. What is read aloud changes only when
 * the sentence does.
 */

import type { FtwebStatus } from "./channels";
import type { Unsubscribe } from "./page";

export type Watch = (watcher: (status: FtwebStatus) => void) => Unsubscribe;

export function defineStatusElement(watch: Watch): void {
  if (customElements.get("ftweb-status") !== undefined) return;
  class StatusElement extends HTMLElement {
    private unsubscribe: Unsubscribe | undefined;

    connectedCallback(): void {
      this.setAttribute("role", "status");
      this.setAttribute("aria-live", "polite");
      this.dataset["testid"] ??= "status";
      this.unsubscribe = watch((status) => {
        this.dataset["state"] = status.state;
        if (this.textContent !== status.text) this.textContent = status.text;
      });
    }

    disconnectedCallback(): void {
      this.unsubscribe?.();
    }
  }
  customElements.define("ftweb-status", StatusElement);
}
