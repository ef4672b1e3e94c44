/** Web Locks of one origin, as far as the SDK uses them; each tab has its own view, whose locks end with it. */
export class FakeOrigin {
  private readonly held = new Map<string, object>();

  tab(): { locks: LockManager; gone: () => void } {
    const tab = {};
    const request = async (name: string, _: LockOptions, callback: (lock: object | null) => unknown) => {
      if (this.held.has(name)) return callback(null);
      this.held.set(name, tab);
      try {
        return await callback({ name });
      } finally {
        if (this.held.get(name) === tab) this.held.delete(name);
      }
    };
    const gone = () => {
      for (const [name, holder] of this.held) if (holder === tab) this.held.delete(name);
    };
    return { locks: { request } as unknown as LockManager, gone };
  }
}
