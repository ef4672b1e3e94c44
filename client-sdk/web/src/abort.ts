/** Calls `action` once when the signal is aborted, unless the result has been called before. */
export function onAbort(signal: AbortSignal | undefined, action: (reason: unknown) => void): () => void {
  if (!signal) return () => {};
  const aborted = () => action(signal.reason);
  signal.addEventListener("abort", aborted, { once: true });
  return () => signal.removeEventListener("abort", aborted);
}
