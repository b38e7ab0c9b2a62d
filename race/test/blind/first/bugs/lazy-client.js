// chroma-core/chroma#7487, wearekickback/app#183: the promise of an initialisation is kept only after a first await.
import { setTimeout as sleep } from 'node:timers/promises'
import Fastify from 'fastify'

class Client {
  opened = 0
  #ready

  constructor (isFixed) { this.isFixed = isFixed }

  async identify () { await sleep(1) }

  async connect () {
    this.opened++
    const connection = { id: this.opened }
    await sleep(1)
    return connection
  }

  async init () {
    if (this.isFixed) return (this.#ready ??= this.identify().then(() => this.connect()))
    if (this.#ready === undefined) {
      await this.identify()
      this.#ready = this.connect()
    }
    return this.#ready
  }
}

const build = (isFixed) => () => {
  const app = Fastify()
  const client = new Client(isFixed)
  app.get('/query', async () => ({ connection: (await client.init()).id }))
  return app
}

export const [racy, fixed] = [build(false), build(true)]
export const requests = ['/query', '/query']
