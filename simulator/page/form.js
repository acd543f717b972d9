// What people have filled in on one surface, in the shape of Slack's `state.values`.

/** Collects the state of the interactive elements of a message or a view. */
export class Form {
  #fields = new Map();

  /** Keep an element's reader and writer; `read()` gives `{type, …}`, `write(state)` puts such a state back. */
  add(blockId, actionId, read, write) {
    this.#fields.set(JSON.stringify([blockId, actionId]), { blockId, actionId, read, write });
  }

  /** Everything as `{block_id: {action_id: state}}`. */
  values() {
    const values = {};
    for (const { blockId, actionId, read } of this.#fields.values()) (values[blockId] ??= {})[actionId] = read();
    return values;
  }

  /** Put back what was filled in before a view was drawn again, where block and element are still the same kind. */
  restore(values) {
    for (const { blockId, actionId, read, write } of this.#fields.values()) {
      const state = values[blockId]?.[actionId];
      if (state && state.type === read().type) write(state);
    }
  }

  /** True when anything can be filled in at all. */
  get filled() {
    return this.#fields.size > 0;
  }
}
