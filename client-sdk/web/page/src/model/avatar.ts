/** A face for a name: one or two letters and one of twelve hues, the same for everyone who looks. */

const segmenter = new Intl.Segmenter("en", { granularity: "grapheme" });
const firstOf = (word: string): string => segmenter.segment(word)[Symbol.iterator]().next().value?.segment ?? "";

export function initials(name: string): string {
  const words = name.split(/[^\p{L}\p{N}\p{Extended_Pictographic}\p{M}\u200d\ufe0f]+/u).filter((word) => word !== "");
  const letters = words.length > 1 ? firstOf(words[0] as string) + firstOf(words.at(-1) as string) : firstOf(words[0] ?? name);
  return letters.toLocaleUpperCase("en") || "?";
}

export const HUES = 12;

/** FNV-1a over the name's UTF-16 units: stable, and close names differ. */
export function hueOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return ((hash ^ (hash >>> 15)) >>> 0) % HUES;
}
