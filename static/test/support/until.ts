/** Waits for a state instead of sleeping. */
export async function until(
  holds: () => boolean,
  what = "a state",
  patience = 5_000,
): Promise<void> {
  const deadline = performance.now() + patience;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`Never came: ${what}.`);
    await new Promise((resolve) => {
      setTimeout(resolve, 2);
    });
  }
}
