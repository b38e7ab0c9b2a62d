/**
 * Reads a MessagePort without holding the event loop, and on demand. Node hands messages over one by one, which costs
 * twice as much as to read on, and doesn't stop while there are more: a job may post without end.
 */
import { receiveMessageOnPort, type MessagePort } from 'node:worker_threads'
import { outside } from './transitions.ts'

/** Messages read in one go where they must be read now: more than a thread can have posted unread. */
const MAX_BURST = 2_048

/**
 * How long, in ms, messages are read on before others have their turn of the event loop: each may take as long as its
 * value is large.
 */
const MAX_READING_MS = 4

export class PortReader<Message> {
  readonly #port: MessagePort
  readonly #run: (handle: () => void) => void
  readonly #handle: (message: Message) => void
  readonly #onUnreadable: (error: unknown) => void
  /** When a message was last received. */
  at = 0

  /**
   * @param run calls a function, at once or later: each message is handled by a call of its own
   * @param onUnreadable called in place of `handle` for a message that can't be read: it is nested too deeply for this
   * thread, or too large
   */
  constructor (port: MessagePort, run: (handle: () => void) => void, handle: (message: Message) => void,
    onUnreadable: (error: unknown) => void) {
    this.#port = port
    this.#run = run
    this.#handle = handle
    this.#onUnreadable = onUnreadable
    this.#listen()
    port.on('messageerror', (error: unknown) => this.#receive(() => onUnreadable(error)))
  }

  /** Handles at once what was posted and not read. */
  poll (): void {
    this.at = performance.now()
    for (let count = 0; count < MAX_BURST && this.#receiveOne((handle) => handle()); count++);
  }

  /** The port doesn't hold the process open: the thread does, if it has something to do. */
  #listen (): void {
    this.#port.on('message', this.#onMessage)
    this.#port.unref()
  }

  readonly #onMessage = (message: Message): void => this.#receive(() => this.#handle(message))

  #receive (first: () => void): void {
    this.at = performance.now()
    this.#run(first)
    while (this.#receiveOne(this.#run)) {
      if (performance.now() - this.at < MAX_READING_MS) continue
      // A port without a listener is not read.
      this.#port.off('message', this.#onMessage)
      outside(() => setImmediate(() => this.#listen()))
      return
    }
  }

  #receiveOne (run: (handle: () => void) => void): boolean {
    let next: { message: Message } | undefined
    try {
      next = receiveMessageOnPort(this.#port) as { message: Message } | undefined
    } catch (error) {
      run(() => this.#onUnreadable(error))
      return true
    }
    if (next === undefined) return false
    const { message } = next
    run(() => this.#handle(message))
    return true
  }
}
