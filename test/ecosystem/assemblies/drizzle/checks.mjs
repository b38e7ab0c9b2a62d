import { equal } from 'node:assert/strict'
import { http } from '../shared/clients.js'

const insert = (url, path, ms) => http(`${url}${path}?name=ada&ms=${ms}`, { method: 'POST' })

export default async function ({ check, withApp, survives }) {
  await check('a query that a handler returns runs once', () => withApp(['app.js'], async ({ url }) => {
    for (const [path, id] of [['/users', 1], ['/slow-users', 2], ['/users', 3]]) {
      equal(await insert(url, path, 1).ended, `200 [{"id":${id},"name":"ada"}]`)
    }
    equal(await http(`${url}/users`).ended, '200 {"count":3}')
  }))
  await check('a query whose client leaves before it has begun never runs', () => withApp(['app.js'], async ({ url, logged }) => {
    const { leave } = insert(url, '/slow-users', 60_000)
    await logged(({ msg }) => msg === 'work begins')
    leave()
    await logged(({ msg }) => msg === 'work stopped')
    equal(await http(`${url}/users`).ended, '200 {"count":0}')
  }))
  await survives('', ['app.js'], {
    'an insert': { ask: (url, ms) => insert(url, '/slow-users', ms), answer: '200 [{"id":1,"name":"ada"}]' }
  })
}
