/**
 * A minimal HTTP client that can give up: keep-alive connections with one request at a time on each. A request that gives up destroys its socket.
 * A client with more features would take CPU time from the server that is measured.
 */
import { connect } from 'node:net'

/** @typedef {number | 'gaveUp' | 'failed'} Ending the status code, or why there is none */

export class Connections {
  #port
  #localAddress
  /** @type {Connection[]} */
  #idle = []
  #open = new Set()
  /** How many were opened. */
  opened = 0

  /**
   * @param {number} port
   * @param {string} [localAddress] from which the client connects: on Linux any of 127.0.0.0/8 is an address of this machine
   */
  constructor (port, localAddress) {
    this.#port = port
    this.#localAddress = localAddress
  }

  /**
   * @param {string} path
   * @param {{ patience?: number }} options ms after which the client gives up
   * @returns {Promise<Ending>}
   */
  get (path, { patience = Infinity } = {}) {
    const connection = this.#idle.pop() ?? this.#connect()
    return connection.send(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`, patience)
  }

  #connect () {
    this.opened++
    const from = { port: this.#port, ...(this.#localAddress !== undefined && { localAddress: this.#localAddress }) }
    const connection = new Connection(from, () => this.#idle.push(connection), () => {
      this.#open.delete(connection)
      const index = this.#idle.indexOf(connection)
      if (index >= 0) this.#idle.splice(index, 1)
    })
    this.#open.add(connection)
    return connection
  }

  close () {
    for (const connection of this.#open) connection.close()
  }
}

class Connection {
  #socket
  #onIdle
  /** @type {((ending: Ending) => void) | undefined} */
  #settle
  #received = ''

  /**
   * @param {{ port: number, localAddress?: string }} from
   * @param {() => void} onIdle
   * @param {() => void} onClose
   */
  constructor (from, onIdle, onClose) {
    this.#onIdle = onIdle
    this.#socket = connect({ ...from, host: '127.0.0.1', noDelay: true }).setEncoding('latin1')
    this.#socket.on('data', (/** @type {string} */ text) => this.#onData(text))
    this.#socket.on('error', () => {}) // a close follows
    this.#socket.on('close', () => {
      onClose()
      this.#end('failed')
    })
  }

  /**
   * @param {string} text
   * @param {number} patience
   * @returns {Promise<Ending>}
   */
  send (text, patience) {
    return new Promise((resolve) => {
      const timer = patience === Infinity
        ? undefined
        : setTimeout(() => {
          this.#end('gaveUp')
          this.#socket.destroy()
        }, patience)
      this.#settle = (ending) => {
        clearTimeout(timer)
        resolve(ending)
      }
      this.#socket.write(text)
    })
  }

  close () {
    this.#socket.destroy()
  }

  /** @param {string} text */
  #onData (text) {
    this.#received += text
    const head = this.#received.indexOf('\r\n\r\n')
    if (head < 0) return
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(this.#received)?.[1] ?? NaN)
    if (Number.isNaN(length)) throw new Error(`a response without a length: ${this.#received}`)
    if (this.#received.length < head + 4 + length) return
    const status = Number(this.#received.slice(9, 12))
    this.#received = ''
    this.#onIdle()
    this.#end(status)
  }

  /** @param {Ending} ending */
  #end (ending) {
    this.#settle?.(ending)
    this.#settle = undefined
  }
}
