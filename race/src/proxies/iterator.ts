/** %IteratorPrototype%, which Node 20 has no name for. */
const prototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())) as object

/** Returns an iterator that goes on after a `break`, as those of arrays, Maps and Sets do, and as a generator would not. */
export function iterator<T> (next: () => IteratorResult<T>): IterableIterator<T> {
  return Object.assign(Object.create(prototype), { next }) as IterableIterator<T>
}
