/**
 * Asks the person at the page whether it may publish a server.
 *
 * A modal dialog in a shadow root, so that the page's styles do not reach it. It takes no inline
 * styles: the page's policy forbids them. A page's own script could answer it, which is no weaker
 * than the page itself: it is of the same app as the bridge's.
 */

const SHEET = `
  dialog { font: 1rem/1.5 system-ui, sans-serif; color-scheme: light dark; max-width: 26rem;
    border: 1px solid; border-radius: 0.5rem; padding: 1.25rem; }
  dialog::backdrop { background: rgb(0 0 0 / 40%); }
  p { margin: 0 0 1rem; overflow-wrap: anywhere; }
  button { font: inherit; padding: 0.4rem 1rem; margin-inline-end: 0.5rem; }
`;

export function ask(name: string): Promise<boolean> {
  const holder = document.createElement("ftweb-publish");
  holder.dataset["testid"] = "publish-question";
  const root = holder.attachShadow({ mode: "open" });
  if ("adoptedStyleSheets" in root) {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(SHEET);
    root.adoptedStyleSheets = [sheet];
  }
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "question");
  const question = document.createElement("p");
  question.id = "question";
  question.textContent =
    `This page wants to publish “${name}” to everybody on this network, ` +
    "as long as it is open. Allow that?";
  const allow = button("Allow", "allow");
  const refuse = button("Don’t allow", "refuse");
  dialog.append(question, allow, refuse);
  root.append(dialog);
  (document.body ?? document.documentElement).append(holder);
  return new Promise((resolve) => {
    const decide = (allowed: boolean): void => {
      holder.remove();
      resolve(allowed);
    };
    allow.onclick = () => decide(true);
    refuse.onclick = () => decide(false);
    dialog.oncancel = () => decide(false);
    dialog.showModal();
    refuse.focus();
  });
}

function button(text: string, id: string): HTMLButtonElement {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.dataset["testid"] = id;
  return made;
}
