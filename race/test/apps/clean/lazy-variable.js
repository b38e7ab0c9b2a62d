// Variables that several requests fill with the same: a plain object, a list, an instance that holds a list.
import Fastify from 'fastify'
import { setTimeout as wait } from 'node:timers/promises'

let rates = null
let names
let book

class Book {
  pages = []
  constructor (title) { this.title = title }
}

export const requests = ['/', '/', '/']

export function build () {
  const app = Fastify()
  app.get('/', async () => {
    if (!rates) rates = await wait(1, { eur: 1 })
    names ??= await wait(1, ['ada', 'bob'])
    if (book === undefined) {
      await wait(1)
      book = new Book('Notes')
    }
    return { rates, names, book }
  })
  return app
}
