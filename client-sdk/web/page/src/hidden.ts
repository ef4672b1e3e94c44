/** Messages that the user wants to see no more, by their conversations. What is hidden on one device is hidden on all. */

export class Hidden {
  private readonly seqs = new Map<string, Set<number>>();

  /** The same set for the same conversation. */
  of(conversation: string): Set<number> {
    const seqs = this.seqs.get(conversation) ?? new Set();
    this.seqs.set(conversation, seqs);
    return seqs;
  }
}
