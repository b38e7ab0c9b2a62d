import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

class Link {
  constructor (value) {
    this.value = value
    this.previous = this.next = this
  }

  insertBefore (next) {
    this.previous = next.previous
    this.next = next
    this.previous.next = next.previous = this
  }

  remove () {
    this.previous.next = this.next
    this.next.previous = this.previous
    this.previous = this.next = this
  }
}

class Waiting {
  #ends = new Link(undefined)
  length = 0

  join (name) {
    const link = new Link(name)
    link.insertBefore(this.#ends)
    this.length++
    return link
  }

  leave (link) {
    link.remove()
    this.length--
  }

  get first () {
    return this.#ends.next.value
  }
}

export const requests = ['/a', '/b', '/c', '/d']

export function build () {
  const app = Fastify()
  const waiting = new Waiting()
  app.get('/:name', async ({ params: { name } }) => {
    const links = [waiting.join(name), waiting.join(`${name}'s friend`)]
    await wait(1)
    waiting.leave(links[0])
    await wait(name === 'a' ? 3 : 1)
    waiting.leave(links[1])
    return { first: waiting.first ?? 'nobody', length: waiting.length }
  })
  return app
}
