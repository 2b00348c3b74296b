/** Waits for a state instead of sleeping; for long, since other work may share the machine. */
export async function until(
  holds: () => boolean,
  what = "a state",
  patience = 20_000,
): Promise<void> {
  const deadline = performance.now() + patience;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`Never came: ${what}.`);
    await new Promise((resolve) => {
      setTimeout(resolve, 2);
    });
  }
}
